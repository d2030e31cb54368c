"""Event files that TensorBoard's own reader understands, without anything twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeplora.__main__ import main
from sweeplora.errors import UserError
from sweeplora.record.mirror import Mirror
from sweeplora.record.store.client import TROUBLE
from sweeplora.record.tensorboard import EventFiles
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter

pytest.importorskip("tensorboard")


def run_folder(path: Path) -> RunDir:
    run = RunDir.create(path, "name: test\n")
    writer = MetricsWriter(run.metrics)
    for step in (1, 2, 3):
        writer.write(step, {"loss": 1 / step, "lr/unet": 0.5})
    run.samples.mkdir()
    Image.new("RGB", (6, 4), "red").save(run.samples / "00000003_01.png")
    return run


def read(folder: Path) -> dict[str, Any]:
    """What TensorBoard itself shows of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder))
    shown.Reload()
    scalars = {tag: [(e.step, round(e.value, 6)) for e in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    pictures = {tag: [(e.step, e.width, e.height) for e in shown.Images(tag)] for tag in shown.Tags()["images"]}
    return {"scalars": scalars, "pictures": pictures}


def test_numbers_and_pictures_are_shown_each_once_however_often_it_looks(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    for _ in range(3):
        EventFiles(tmp_path / "tb", "p-").update(run.path, "single/run", 1700000000)
    MetricsWriter(run.metrics).write(4, {"loss": 0.25})
    EventFiles(tmp_path / "tb", "p-").update(run.path, "single/run", 1700000000)
    shown = read(tmp_path / "tb" / "p-single" / "run")
    assert shown["scalars"]["loss"] == [(1, 1.0), (2, 0.5), (3, 0.333333), (4, 0.25)]
    assert len(shown["scalars"]["lr/unet"]) == 3
    assert shown["pictures"] == {"samples/01": [(3, 6, 4)]}


def test_what_a_killed_mirror_wrote_and_did_not_note_is_not_doubled(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    events = EventFiles(tmp_path / "tb", "")
    events.update(run.path, "run", 1)
    noted = (run.path / "tensorboard.json").read_text()
    MetricsWriter(run.metrics).write(4, {"loss": 0.25})
    events.update(run.path, "run", 1)
    (run.path / "tensorboard.json").write_text(noted)
    events.update(run.path, "run", 1)
    assert read(tmp_path / "tb" / "run")["scalars"]["loss"][-2:] == [(3, 0.333333), (4, 0.25)]


def test_a_mirror_writes_events_although_its_store_is_down(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "runs" / "single" / "mine")
    run.trial.write_text(json.dumps({"verdict": "running", "signature": "x", "attempts": [{"started": 1700000000.5}]}))
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    uri = f"sqlite:///{tmp_path}/blocked/mlflow.db"
    tracking = Tracking(True, uri, str(tmp_path / "a"), "x", False, 1.0, str(tmp_path / "tb"), "")
    with pytest.raises(TROUBLE):
        Mirror(run.path, tracking).turn()
    assert read(tmp_path / "tb" / "single" / "mine")["scalars"]["loss"][0] == (1, 1.0)


def test_a_trial_that_was_taken_from_an_earlier_run_is_written_too(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "runs" / "mine" / "000-abc")
    run.trial.write_text(json.dumps({"verdict": "complete", "signature": "abc", "number": 0, "attempts": []}))
    (tmp_path / "runs/mine/study.json").write_text(
        json.dumps({"study": "mine", "objective": "val/loss", "started": 1700000000.5})
    )
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    uri = f"sqlite:///{tmp_path}/blocked/mlflow.db"
    tracking = Tracking(True, uri, str(tmp_path / "a"), "x", False, 1.0, str(tmp_path / "tb"), "")
    with pytest.raises(TROUBLE):
        Mirror(tmp_path / "runs" / "mine", tracking).turn()
    assert read(tmp_path / "tb" / "mine" / "000-abc")["scalars"]["loss"][0] == (1, 1.0)


def test_options_without_effect_are_refused() -> None:
    common: dict[str, Any] = {
        "uri": "sqlite:///x.db",
        "artifacts": "",
        "experiment": "x",
        "workspace": False,
        "workspace_cap_mib": 1.0,
    }
    with pytest.raises(UserError, match=r"tracking\.tensorboard_prefix=p: has no effect"):
        Tracking(enabled=True, **common, tensorboard=None, tensorboard_prefix="p")
    with pytest.raises(UserError, match=r"tracking\.tensorboard=tb: tracking=none records nothing"):
        Tracking(enabled=False, **common, tensorboard="tb", tensorboard_prefix="")


def test_event_files_without_the_package_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sweeplora.check.place.find_spec", lambda _: None)
    assert main([f"runs={tmp_path}/runs", "tracking.tensorboard=tb", "train.steps=1", "train.epochs=null"]) == 2
    assert "tracking.tensorboard=tb: the package is not installed; pip install" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()

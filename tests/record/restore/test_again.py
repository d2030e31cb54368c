"""The whole way: train in a dirty workspace, lose all but the tracking server's storage, restore, train again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from sweeplora.__main__ import main
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import read_result, read_trial
from tests.record.mlflow_store import Contents
from tests.record.postgres import postgres
from tests.record.provenance.test_git import run
from tests.record.restore.desk import Desk
from tests.record.servers import Server
from tests.record.study_folder import StudyFolder

_NOISE = """
import torch
from strength import VALUE


def mine(latents, generators):
    drawn = [VALUE * torch.randn(one.shape, generator=g) for one, g in zip(latents, generators, strict=True)]
    return torch.stack(drawn).to(latents.device)
"""


@pytest.mark.slow
def test_all_but_the_servers_storage_is_lost_and_the_same_bytes_come_back(
    tmp_path: Path,
    tiny_model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    train_lose_and_restore(Desk(tmp_path), tiny_model, pictures)
    monkeypatch.chdir(tmp_path / "other machine" / "again")
    _rerun_alike(tmp_path, capsys)
    _changed_in_its_seed_alone(capsys)


@pytest.mark.slow
def test_a_caption_and_a_removal_that_were_not_committed_train_again_alike(
    tmp_path: Path,
    tiny_model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk = Desk(tmp_path)
    for part in ("train", "val"):
        shutil.copytree(pictures / part, desk.path / "pics" / part)
    run(desk.path, "add", ".")
    run(desk.path, "commit", "-q", "-m", "pictures")
    (desk.path / "pics/train/p00.txt").write_text("not what was committed\n")
    (desk.path / "pics/train/p01.png").unlink()
    monkeypatch.chdir(desk.path)
    words = [f"model.path={tiny_model}", "data=folder", "data.dir=pics/train", "data.val_dir=pics/val", "name=mine"]
    assert main([*words, "sample=none", "train.epochs=null", "train.steps=2", "train.batch_size=4"]) == 0
    assert main(["restore", "mine", str(tmp_path / "again")]) == 0
    assert "did not have, left out: p01.png" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "again")
    assert main(["rerun", "mine"]) == 0
    assert "identical to single/mine" in capsys.readouterr().out


@pytest.mark.services
def test_the_same_with_a_server_on_postgresql(
    tmp_path: Path,
    tiny_model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with postgres() as database:
        (tmp_path / "server").mkdir()
        server = Server(tmp_path / "server", database)
        server.start()
        try:
            train_lose_and_restore(Desk(tmp_path), tiny_model, pictures, server.uri)
            monkeypatch.chdir(tmp_path / "other machine" / "again")
            _rerun_alike(tmp_path, capsys)
            _sync_sends_what_is_missing_once(server, capsys)
        finally:
            server.stop()


def train_lose_and_restore(desk: Desk, model: Path, pictures: Path, server: str | None = None) -> None:
    """Train in a workspace, lose all but the record's storage and the images, restore from it in another folder.

    The record is in a database below `runs`, which is carried off, or on a server.
    """
    desk.push()
    desk.soil()
    (desk.path / "my_noise.py").write_text(_NOISE)
    (desk.path / "strength.py").symlink_to("ext/sub/lib.py")  # the submodule's uncommitted change is in the result
    (desk.path / "conf/noise").mkdir(parents=True)
    (desk.path / "conf/noise/mine.yaml").write_text("_target_: my_noise.mine\n_partial_: true\n")
    shutil.copytree(pictures / "train", desk.path / "pics/train")
    shutil.copytree(pictures / "val", desk.path / "pics/val")
    (desk.path / "prompts.txt").write_text("shape 3, ellipse --d 5 --s 2 --w 32 --h 32\n")
    os.chdir(desk.path)
    words = [f"model.path={model}", "data=folder", "data.dir=pics/train", "data.val_dir=pics/val", "noise=mine"]
    words += ["sample.prompts=prompts.txt", "sample.at_first=false", "train.epochs=null", "train.steps=2"]
    words += ["network.dim=choice(2,4)", "sweep.name=small", "sweep.trials=1", "search=random"]
    words += [f"tracking.uri={server}"] if server is not None else []
    assert main(words) == 0
    trained = next((desk.path / "runs/small").glob("000-*"))
    first = read_result(RunDir(trained))
    assert first is not None and first.weights_sha256 is not None
    (desk.parent / "first.txt").write_text(first.weights_sha256)
    before = {name: part for name, part in desk.contents().items() if not name.startswith("pics/")}

    storage, attic = desk.parent / "storage", desk.parent / "attic"
    storage.mkdir()
    attic.mkdir()
    for name in ("mlflow.db", "artifacts") if server is None else ():
        shutil.move(desk.path / "runs" / name, storage / name)
    for number, picture in enumerate(sorted((desk.path / "pics").rglob("*.png"))):
        shutil.move(picture, attic / f"{number}.bin")
    for folder in (desk.path, desk.remote, desk.sub):
        shutil.rmtree(folder)
    (desk.parent / "other machine").mkdir()
    os.chdir(desk.parent / "other machine")
    where = f"tracking.uri={server or f'sqlite:///{storage}/mlflow.db'}"
    assert main(["restore", "small/0", "again", where, "--look-in", str(attic)]) == 0
    again = desk.contents(Path("again").absolute())
    assert {name: part for name, part in again.items() if not name.startswith("pics/")} == before


def _rerun_alike(parent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    report = parent / "report.json"
    assert main(["rerun", "small/0", "--json", str(report)]) == 0
    assert "identical to small/000-" in capsys.readouterr().out
    told = read_json(report) or {}
    first = (parent / "first.txt").read_text()
    assert told["weights"] == [first] * 2 and told["steps"] == 2 and told["parts_at"] is None


def _sync_sends_what_is_missing_once(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A study recorded while the server is away is behind, and `sync` with its name brings it up to date."""
    study = StudyFolder(Path("runs").absolute(), "late", server.uri)
    trial = study.trial(0, 2)
    trial.steps(0, 20)
    trial.complete(1.0)
    study.write("finished")
    before = Contents(server.uri).everything()
    server.stop()
    assert main(["sync", "late"]) == 1
    assert "late: " in capsys.readouterr().err
    server.start()
    for _ in range(2):
        assert main(["sync", "late"]) == 0
        after = Contents(server.uri).everything()
        assert {name: one for name, one in after.items() if not name.startswith("late")} == before
        assert after["late/000-000000000002"][3]["loss"] == [(step, 2 + 1 / (step + 1)) for step in range(21)]


def _changed_in_its_seed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    restored = next(Path("runs/small").glob("000-*"))
    assert main(["rerun", "small/0", "seed=1", "--json", "changed.json"]) == 0
    assert (read_json(Path("changed.json")) or {})["changed"] == {"seed": [0, 1]}
    said = capsys.readouterr().out
    changed = [line for line in said.splitlines() if line.startswith("changed: ")]
    assert changed == ["changed: seed: 0 -> 1"]
    assert "result: val/loss: " in said
    newest = max(Path("runs/single").iterdir(), key=lambda path: path.stat().st_mtime)
    one, other = (yaml.safe_load((path / "config.yaml").read_text()) for path in (restored, newest))
    assert other["network"]["dim"] == one["network"]["dim"] and other["seed"] == 1
    record = read_trial(RunDir(newest))
    assert record is not None and record.threads == (read_trial(RunDir(restored)) or record).threads
    assert main(["diff", "small/0", newest.name, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == {"seed": [0, 1]} and not told["data"] and "val/loss" in told["results"]

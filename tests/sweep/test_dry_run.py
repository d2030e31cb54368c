"""A dry run says what would happen, refuses what a run would refuse, and starts and writes nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.launch.dry import Dry
from sweeplora.launch.launcher import AttemptRules
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import Attempt, TrialRecord, write_trial


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "launcher=dry"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("nothing was started\n")
    return said


def tree(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_dry_run_tells_length_place_and_record_and_starts_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--dry-run", "train.epochs=2", "name=cats"]) == 0
    said = capsys.readouterr().out
    assert "26 steps, in runs/single/cats" in said and "record:   sqlite:///runs/mlflow.db" in said
    assert said.endswith("nothing was started\n")
    assert tree(folder) == {}
    again = told(capsys, "train.epochs=2", "name=cats")  # one mechanism
    assert [line for line in again.splitlines() if line[:5] != "room:"] == [
        line for line in said.splitlines() if line[:5] != "room:"
    ]


def test_the_arithmetic_of_the_steps_is_told(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(pictures / "train", "set/2_shapes")
    words = ["data=folder", "data.dir=set", f"data.val_dir={pictures / 'val'}", "train.batch_size=6"]
    words += ["train.accumulation=3", "train.epochs=4", "launcher.processes_per_trial=2", "launcher.threads=1"]
    said = told(capsys, *words, "sample.every_epochs=1", "train.save_every_epochs=2")
    assert "12 images, 24 uses an epoch with their repeats, in 5 batches of at most 6 over 2 processes" in said
    assert "5 batches / accumulation 3 = 2 an epoch, x 4 epochs = 8" in said
    assert re.search(r"buckets:  \d+ x \d+: 14 in 3 batches; \d+ x \d+: 6 in 1 batch; \d+ x \d+: 4 in 1 batch", said)
    assert re.search(r"previews: 4 prompts, 5 times; process 0 draws 4, process 1 draws 0", said)
    assert "2 weights files of" in said
    assert "where:    2 processes of 1 thread on cpu, 1 at once" in said
    assert "unknown: no finished run of this model" in said


def test_memory_and_disk_are_counted_from_numbers_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "network.dim=4", "optimizer=adamw", "sample=none")
    trained = int(re.search(r"\(([\d,]+) numbers\)", said)[1].replace(",", ""))  # type: ignore[index]
    assert f"network and gradients {8 * trained / 2**20:.1f} MiB" in said
    assert f"optimizer {8 * trained / 2**20:.1f} MiB" in said
    assert re.search(rf"8 weights files of {2 * trained / 2**10:.0f}\.\d KiB|8 weights files of", said)
    twice = told(capsys, "network.dim=8", "optimizer=lion", "sample=none")
    more = int(re.search(r"\(([\d,]+) numbers\)", twice)[1].replace(",", ""))  # type: ignore[index]
    assert more == 2 * trained and f"optimizer {4 * more / 2**20:.1f} MiB" in twice


def test_a_dry_run_of_a_sweep_tells_its_space_trials_and_the_range_over_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["network.dim=choice(2,4)", "sweep.name=mine", "sweep.trials=3", "tracking.uri=http://me:secret@host:5000"]
    said = told(capsys, *words, "sweep.confirm={top: 2, seeds: 3}")
    assert "a study of 3 trials, the least val/loss; runs/mine would be made" in said
    assert "  network.dim: " in said and "http://me:***@host:5000" in said
    assert "3 trials + at most 6 of the best again = 9 trainings" in said
    assert re.search(r"8 weights files of [\d.]+ KiB \([\d.]+ KiB to [\d.]+ KiB over what is searched\)", said)
    assert tree(folder) == {}


def test_hours_and_peaks_come_from_finished_runs_of_the_same_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sweeplora.check.configuration import check
    from sweeplora.config.compose import compose

    experiment = check(compose(["train.epochs=2"]))
    for number, seconds in enumerate((52.0, 104.0, 156.0)):
        run = RunDir.create(folder / f"runs/single/known-{number}", experiment.yaml)
        record = TrialRecord("complete", signature="0" * 12, steps=26, contents=dict(experiment.contents))
        record.attempts = [Attempt(1000.0, ended=1000.0 + seconds)]
        write_trial(run, record)
        MetricsWriter(run.metrics).write(26, {"memory_mib": 900.0 + number})
    before = tree(folder)
    said = told(capsys, "train.epochs=4")
    # 104 s for 26 steps of 4 images: one second an image.
    assert "time:     about 3:28, from 1 s an image in 3 finished runs of this model here" in said
    assert "measured here on this model: 902.0 MiB at the peak of 3 runs" in said
    assert "(0:" not in said and tree(folder) == before
    other = told(capsys, "train.epochs=4", "data.resolution=32")
    assert "unknown: no finished run" in other


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["network.dim=0"], "network.dim=0"),
        (["sweep.name=ranks"], "sweep.name=ranks"),
        (["network.dim=choice(2,4)", "sweep.trials=0"], "sweep.trials"),
        (["launcher.slots=1000"], "launcher.slots=1000"),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses(
    words: list[str], named: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (["run", "--dry-run", *words], [*words, "launcher=dry"]):
        assert main(line) == 2
        assert named in capsys.readouterr().err
    assert tree(folder) == {}


def test_a_dry_launcher_plans_as_the_local_one_and_starts_nothing(tmp_path: Path) -> None:
    dry = Dry(slots=1, processes_per_trial=1, threads=1, device="cpu", trials_per_gpu=1, attempts=2)
    plan = dry.plan(3)
    assert len(plan.slots) == 1 and isinstance(dry.rules, AttemptRules)
    dry.preload(3, "sweeplora.training.worker", {})
    with pytest.raises(AssertionError, match="starts no training"):
        dry.start(RunDir(tmp_path), plan.slots[0], "sweeplora.training.worker")
    dry.close()

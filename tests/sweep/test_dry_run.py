"""A dry run says what would happen, refuses what a run would refuse, and starts nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.__main__ import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dry_run_tells_length_place_and_record_and_starts_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--dry-run", "train.epochs=2", "name=cats"]) == 0
    said = capsys.readouterr().out
    assert "26 steps, in runs/single/cats" in said and "record: sqlite:///runs/mlflow.db" in said
    assert said.endswith("nothing was started\n")
    assert not list(folder.glob("runs/single/*")) and not (folder / "runs/mlflow.db").exists()


def test_a_dry_run_of_a_sweep_tells_its_space(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["network.dim=choice(2,4)", "sweep.name=mine", "sweep.trials=3", "tracking.uri=http://me:secret@host:5000"]
    assert main(["run", "--dry-run", *words]) == 0
    said = capsys.readouterr().out
    assert "a study of 3 trials, the least val/loss; runs/mine would be made" in said
    assert "  network.dim: " in said and "http://me:***@host:5000" in said
    assert not (folder / "runs/mine").exists() and not (folder / "runs/optuna.db").exists()


def test_a_dry_run_refuses_what_a_run_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "network.dim=0"]) == 2
    assert "network.dim=0" in capsys.readouterr().err

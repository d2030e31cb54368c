"""`sync`: the named studies or runs alone, and an exit code that says whether something stays behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from tests.record.conftest import empty_database as empty_database  # noqa: PLC0414  # a fixture
from tests.record.mlflow_store import Contents
from tests.record.servers import closed_port
from tests.record.study_folder import StudyFolder


def finished(runs: Path, name: str, uri: str | None = None) -> StudyFolder:
    """A study of one complete trial."""
    study = StudyFolder(runs, name, uri)
    trial = study.trial(0, 2)
    trial.steps(0, 3)
    trial.complete(1.0)
    study.write("finished")
    return study


def test_a_name_is_synced_alone_and_what_stays_behind_is_said(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    study, _ = finished(runs, "rank"), finished(runs, "other")
    shutil.copy(empty_database, runs / "mlflow.db")
    contents = Contents(study.tracking.uri)

    assert main(["sync", "rank"]) == 0
    assert set(contents.runs()) == {"rank", "rank/000-000000000002"}
    assert main(["sync", "other/0"]) == 0  # a trial goes with its study
    both = {"rank", "rank/000-000000000002", "other", "other/000-000000000002"}
    assert set(contents.runs()) == both

    finished(runs, "away", f"http://127.0.0.1:{closed_port()}")
    assert main(["sync", "rank", "other"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["sync", "away"]) == 1
    assert main(["sync"]) == 1
    (first, second) = capsys.readouterr().err.splitlines()
    assert first == second and first.startswith("runs/away: ")
    assert main(["sync", "away", f"tracking.uri={study.tracking.uri}"]) == 0
    assert set(contents.runs()) == both | {"away", "away/000-000000000002"}
    assert main(["sync", "nothing"]) == 2
    assert "no such run" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_not_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sync", "runs=nowhere"]) == 2
    assert "there is no such folder; give runs=FOLDER" in capsys.readouterr().err

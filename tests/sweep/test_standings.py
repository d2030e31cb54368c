"""The leaderboard of a running study: true at once in memory, and on disk as often as is cheap."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import TrialRecord, write_trial
from sweeplora.sweep.standings import Standings


def ended(study: Path, number: int, value: float | list[float]) -> tuple[RunDir, TrialRecord]:
    run, record = RunDir(study / f"{number:03}-x"), TrialRecord("complete", "s", number, "x", value=value)
    run.path.mkdir(parents=True)
    write_trial(run, record)
    return run, record


def numbers(study: Path) -> list[str]:
    return [line.split(",")[1] for line in (study / "leaderboard.csv").read_text().splitlines()[1:]]


def test_the_best_is_known_at_once_and_the_file_is_written_when_it_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("sweeplora.sweep.standings.time.monotonic", lambda: clock[0])
    board = Standings(tmp_path, "s", ("val/loss",))
    board.take(*ended(tmp_path, 0, 2.0))
    assert numbers(tmp_path) == ["0"]
    board.take(*ended(tmp_path, 1, 1.0))
    assert board.best is not None and board.best.number == 1
    assert numbers(tmp_path) == ["0"]
    clock[0] += 1.0
    board.write_if_due()
    assert numbers(tmp_path) == ["1", "0"]


def test_a_driver_that_continues_a_study_knows_its_earlier_trials(tmp_path: Path) -> None:
    ended(tmp_path, 0, 1.0)
    board = Standings(tmp_path, "s", ("val/loss",))
    assert board.best is not None and board.best.number == 0
    board.take(*ended(tmp_path, 1, 2.0))
    assert board.best.number == 0 and numbers(tmp_path) == ["0", "1"]


def test_several_objectives_are_ranked_by_domination(tmp_path: Path) -> None:
    board = Standings(tmp_path, "s", ("a", "b"))
    board.take(*ended(tmp_path, 0, [2.0, 2.0]))
    board = Standings(tmp_path, "s", ("a", "b"))
    board.take(*ended(tmp_path, 1, [1.0, 2.0]))
    assert numbers(tmp_path) == ["1", "0"]
    assert board.best is not None and board.best.number == 1

"""The index of run folders finds what was there, what came later and nothing that is gone."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import TrialRecord, write_trial
from sweeplora.sweep import known_runs
from sweeplora.sweep.known_runs import KnownRuns

ONE, OTHER = "0123456789ab", "ba9876543210"


def folder(runs: Path, parent: str, name: str, signature: str) -> Path:
    run = RunDir(runs / parent / name)
    run.path.mkdir(parents=True)
    write_trial(run, TrialRecord("complete", signature=signature))
    return run.path


def long_ago(path: Path) -> None:
    os.utime(path, (time.time() - 1000, time.time() - 1000))


def found(known: KnownRuns, signature: str) -> list[Path]:
    return [run.path for run in known.candidates(signature)]


def test_folders_of_studies_and_of_single_runs_are_found_by_signature(tmp_path: Path) -> None:
    single = folder(tmp_path, "single", "emoji-twemoji", ONE)
    later, earlier = (folder(tmp_path, study, f"003-{ONE}", ONE) for study in ("s", "a"))
    folder(tmp_path, "s", f"004-{OTHER}", OTHER)
    (tmp_path / "optuna.db").touch()
    known = KnownRuns(tmp_path)
    assert found(known, ONE) == [earlier, later, single]
    assert found(known, "000000000000") == []
    assert found(KnownRuns(tmp_path / "nothing"), ONE) == []


def test_what_comes_and_goes_later_is_seen_at_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_runs, "_SECONDS_BETWEEN_LOOKS", 0.0)
    first = folder(tmp_path, "s", f"000-{ONE}", ONE)
    known = KnownRuns(tmp_path)
    assert found(known, ONE) == [first]
    second = folder(tmp_path, "s", f"001-{ONE}", ONE)  # maybe within the same tick of the file system's clock
    other = folder(tmp_path, "t", f"000-{ONE}", ONE)
    assert found(known, ONE) == [first, second, other]
    shutil.rmtree(first)
    shutil.rmtree(tmp_path / "t")
    assert found(known, ONE) == [second]


def test_an_unchanged_folder_is_not_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_runs, "_SECONDS_BETWEEN_LOOKS", 0.0)
    run = folder(tmp_path, "s", f"000-{ONE}", ONE)
    long_ago(tmp_path / "s")
    known = KnownRuns(tmp_path)
    assert found(known, ONE) == [run]
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))  # type: ignore[func-returns-value]
    assert found(known, ONE) == [run]
    assert listed == [tmp_path.name]


def test_a_single_run_whose_record_is_not_written_yet_is_found_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_runs, "_SECONDS_BETWEEN_LOOKS", 0.0)
    run = RunDir(tmp_path / "single" / "x")
    run.path.mkdir(parents=True)
    long_ago(tmp_path / "single")
    known = KnownRuns(tmp_path)
    assert found(known, ONE) == []
    write_trial(run, TrialRecord("complete", signature=ONE))
    long_ago(tmp_path / "single")
    assert found(known, ONE) == [run.path]


def test_a_new_folder_can_be_taken_in_at_once(tmp_path: Path) -> None:
    known = KnownRuns(tmp_path)
    assert found(known, ONE) == []
    run = RunDir(folder(tmp_path, "s", f"000-{ONE}", ONE))
    assert found(known, ONE) == []
    known.add(run, ONE)
    assert found(known, ONE) == [run.path]

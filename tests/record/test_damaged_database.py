"""A damaged mlflow.db: what cannot be recorded is one line, whatever byte it is, and run folders stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweeplora.randomness import seed_of
from sweeplora.record.mirror import Mirror
from sweeplora.record.store.client import TROUBLE
from sweeplora.record.store.subject import one_line
from sweeplora.record.sync import sync
from tests.record.study_folder import StudyFolder

FEW, MANY = 12, 1000


@pytest.fixture
def recorded(runs: Path) -> StudyFolder:
    """A study of two trials, recorded in full."""
    study = StudyFolder(runs)
    for number, dim in enumerate((2, 4)):
        trial = study.trial(number, dim)
        trial.steps(0, 20)
        trial.sample(20)
        trial.complete(1.0 / dim)
    study.write("finished")
    assert sync(runs, {}) == []
    return study


def damaged(data: bytes, case: int) -> bytes:
    """A database with a byte changed, cut off, empty, or something else: in turn more often in its first pages."""
    place = seed_of(0, "place", case) % (len(data) if case % 2 else 1 << 14)
    match case % 8:
        case 6:
            return data[:place]
        case 7:
            return (b"", b"not a database\n", b"\0" * 4096)[seed_of(0, "other", case) % 3]
    return data[:place] + bytes([data[place] ^ 1 << seed_of(0, "bit", case) % 8]) + data[place + 1 :]


def faults(study: StudyFolder, whole: Path, case: int) -> list[str]:
    """What goes wrong when a study is brought up to date, and begins to be recorded again, in a damaged database."""
    database = study.runs / "mlflow.db"
    found = []
    for step in ("sync", "mirror"):
        shutil.rmtree(study.runs)
        shutil.copytree(whole, study.runs)
        database.write_bytes(damaged(database.read_bytes(), case))
        try:
            if step == "sync":
                found += [line for line in sync(study.runs, {}) if len(line.splitlines()) != 1]
            else:
                Mirror(study.path, study.tracking).turn()
        except TROUBLE as error:
            found += [] if step == "mirror" and one_line(error) else [f"{step}: {error!r}"]
        except Exception as error:
            found.append(f"{step}: {error!r}")
    return [f"case {case}: {one}" for one in found]


def all_faults(study: StudyFolder, whole: Path, cases: range) -> list[str]:
    shutil.copytree(study.runs, whole)
    return [fault for case in cases for fault in faults(study, whole, case)]


def test_a_damaged_database_is_one_line(recorded: StudyFolder, tmp_path: Path) -> None:
    assert all_faults(recorded, tmp_path / "whole", range(FEW)) == []


@pytest.mark.slow
def test_a_thousand_damaged_databases_are_one_line_each(recorded: StudyFolder, tmp_path: Path) -> None:
    assert all_faults(recorded, tmp_path / "whole", range(FEW, FEW + MANY)) == []

"""A damaged mlflow.db: sync says so in one line or leaves each run once, and run folders stay as they are."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sweeplora.randomness import seed_of
from sweeplora.record.mirror import Mirror
from sweeplora.record.store.client import IDENTITY, TROUBLE
from sweeplora.record.store.subject import one_line
from sweeplora.record.sync import sync
from sweeplora.rundir.folder import MIRROR
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


def untold(study: StudyFolder, whole: Path) -> list[str]:
    """What is wrong after a sync that says nothing: pages, a run twice or missing, another result in a folder."""
    with closing(sqlite3.connect(study.runs / "mlflow.db")) as connection:
        if connection.execute("pragma quick_check").fetchall() != [("ok",)]:
            return ["its pages do not fit together, and sync says nothing"]
        words = "select value from tags join runs using (run_uuid) where key = ? and lifecycle_stage = 'active'"
        identities = [row[0] for row in connection.execute(words, (IDENTITY,))]
    wrong = [f"a run is recorded twice: {identities}"] if len(set(identities)) != len(identities) else []
    for file in (path for path in whole.rglob("*.json*") if path.name != MIRROR):
        if (study.runs / file.relative_to(whole)).read_bytes() != file.read_bytes():
            wrong.append(f"{file.name} is another one")
    return wrong


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
                said = sync(study.runs, {})
                found += [line for line in said if len(line.splitlines()) != 1]
                found += [] if said else untold(study, whole)
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


def test_a_schema_that_is_no_text_any_more_is_one_line(recorded: StudyFolder) -> None:
    """SQLite quotes it in what it says."""
    database = recorded.runs / "mlflow.db"
    data = database.read_bytes()
    assert b"CREATE INDEX" in data
    database.write_bytes(data.replace(b"CREATE INDEX", b"CREATE \xc9NDEX", 1))
    (line,) = sync(recorded.runs, {})
    assert "mlflow.db" in line and "move it away" in line
    with pytest.raises(TROUBLE):
        Mirror(recorded.path, recorded.tracking).turn()


@pytest.mark.slow
def test_a_thousand_damaged_databases_are_one_line_each(recorded: StudyFolder, tmp_path: Path) -> None:
    assert all_faults(recorded, tmp_path / "whole", range(FEW, FEW + MANY)) == []

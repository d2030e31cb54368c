"""The quick readers take what the records' own readers take, and reject what those reject, field by field."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from sweeplora.rundir.files import sealed, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.plain_record import read_plain_study, read_plain_trial
from sweeplora.rundir.record import Attempt, DamagedRecord, StudyRecord, TrialRecord, read_study, read_trial

ATTEMPT = Attempt(1.0, 0, 2.5, 77, 88, 0, "complete", "m", reached=9)
TRIAL = TrialRecord("complete", "s", 3, "a" * 12, ("a=1",), {"a": 1, "b": None}, [ATTEMPT], [0.5, 1])
TRIAL.contents, TRIAL.code, TRIAL.own, TRIAL.proposed = {"data.dir": "0"}, {"torch": "2"}, 0.5, ("b=2",)
STUDY = StudyRecord("s", ["val/loss", "file_mib"], 1.0, ended=2, search={"a": [1]}, trials=3, command=("a", "b"))
UNTYPED = {"search", "pruner", "space"}


def is_read(folder: Path, record: type, content: dict[str, object]) -> tuple[bool, bool]:
    """Whether the quick reader and the record's own take a content."""
    run = RunDir(folder)
    file = run.trial if record is TrialRecord else folder / "study.json"
    write_json(file, sealed(content))
    quick = read_plain_trial(file) if record is TrialRecord else read_plain_study(file)
    try:
        read_trial(run) if record is TrialRecord else read_study(folder)
    except DamagedRecord:
        return quick is not None, False
    return quick is not None, True


def plain(record: TrialRecord | StudyRecord) -> dict[str, object]:
    """A record as it is in its file."""
    content: dict[str, object] = json.loads(json.dumps(asdict(record)))
    return content


@pytest.mark.parametrize("record", [TRIAL, STUDY])
def test_a_field_of_another_shape_is_damage_to_both(record: TrialRecord | StudyRecord, tmp_path: Path) -> None:
    good = plain(record)
    assert is_read(tmp_path, type(record), good) == (True, True)
    for each in fields(record):
        if each.name in UNTYPED:
            continue
        wrongs: list[object] = [{"a": [[]]}, [[[]]]]
        for wrong in wrongs:
            assert is_read(tmp_path, type(record), {**good, each.name: wrong}) == (False, False), (each.name, wrong)


def test_a_field_of_an_attempt_is_looked_at_too(tmp_path: Path) -> None:
    good = plain(TRIAL)
    for each in fields(Attempt):
        attempts = [{**asdict(ATTEMPT), each.name: []}]
        assert is_read(tmp_path, TrialRecord, {**good, "attempts": attempts}) == (False, False), each.name


def test_what_earlier_versions_wrote_is_taken_and_renamed(tmp_path: Path) -> None:
    attempt = {"started": 1.0, "birth": 5, "exit_code": None}
    assert is_read(tmp_path, TrialRecord, {"verdict": "running", "attempts": [attempt], "params": None}) == (True, True)
    assert is_read(tmp_path, StudyRecord, {**plain(STUDY), "command": "a b"}) == (True, True)
    assert (read_plain_study(tmp_path / "study.json") or {})["command"] == ["a b"]

"""Records in run folders: what was written is read, older shapes too, and damage is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import (
    Attempt,
    DamagedRecord,
    Result,
    StudyRecord,
    TrialOutcome,
    TrialRecord,
    read_result,
    read_study,
    read_trial,
    write_result,
    write_study,
    write_trial,
)


def test_records_read_back_as_they_were_written(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    trial = TrialRecord("running", "s", 3, "abc", ("a=1",), {"a": 1, "b": None, "c": 0.5, "d": True}, [Attempt(1.5, 2)])
    trial.end(TrialOutcome("complete", "well", (0.25, 0.5)))
    write_trial(run, trial)
    assert read_trial(run) == trial and trial.values == (0.25, 0.5)
    result = Result("finished", "9 steps", 1.5, 9, 9, 1, "weights/x.safetensors", "abc", {"loss": 0.5})
    write_result(run, result)
    assert read_result(run) == result
    study = StudyRecord("s", ["a", "b"], 1.0, search={"_target_": "x"}, command=("sweeplora", "x"))
    write_study(tmp_path, study)
    assert read_study(tmp_path) == study and study.objectives == ("a", "b")


def test_a_record_of_an_earlier_version_still_reads(tmp_path: Path) -> None:
    attempt = {"started": 1.0, "ended": 3.0, "slot": 0, "pid": 7, "birth": 99, "exit_code": 0, "verdict": "complete"}
    old = {"study": "s", "number": 0, "signature": "abc", "overrides": ["a=1"], "params": {"a": 1}, "steps": 20}
    old |= {"attempts": [attempt], "verdict": "complete", "value": 0.5, "message": "", "something": "new"}
    RunDir(tmp_path).trial.write_text(json.dumps(old))
    record = read_trial(RunDir(tmp_path))
    assert record is not None and record.values == (0.5,) and record.seconds == 2.0
    assert record.attempts[0].start_ticks == 99


def test_a_missing_record_is_none(tmp_path: Path) -> None:
    assert read_trial(RunDir(tmp_path)) is None
    assert read_result(RunDir(tmp_path)) is None
    assert read_study(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"verdict": "complete", "att',
        b"\xff\xfe\x00",
        b'{"verdict": "sideways", "status": 3, "study": [], "started": "x"}',
        b'{"verdict": "complete", "status": "finished", "study": "s", "objective": "a", "started": {}, "attempts": [3],'
        b' "metrics": []}',
        b'{"verdict": "complete", "attempts": [{}], "status": null, "objective": 3}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_record_is_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    run = RunDir(tmp_path)
    for path in (run.trial, run.result, tmp_path / "study.json"):
        path.write_bytes(content)
    for read in (lambda: read_trial(run), lambda: read_result(run), lambda: read_study(tmp_path)):
        with pytest.raises(DamagedRecord) as error:
            read()
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_folder_in_a_records_place_is_one_line_too(tmp_path: Path) -> None:
    RunDir(tmp_path).trial.mkdir()
    with pytest.raises(DamagedRecord, match=r"trial\.json"):
        read_trial(RunDir(tmp_path))

"""Runs by their names: which folder a word of the command line means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.report.find import find_folder, find_run
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Result, StudyRecord, TrialRecord, write_result, write_study, write_trial
from sweeplora.tensors.safetensors_header import with_metadata

SIGNATURES = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc")


def weights(path: Path, tensors: bytes, **metadata: str) -> Path:
    """A safetensors file with one tensor of bytes."""
    header = {"w": {"dtype": "U8", "shape": [len(tensors)], "data_offsets": [0, len(tensors)]}}
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(with_metadata(header, {key.replace("__", "."): text for key, text in metadata.items()}) + tensors)
    return path


def a_run(path: Path, record: TrialRecord) -> RunDir:
    """A run folder with a record and weights of its own."""
    run = RunDir.create(path, "seed: 0\n")
    write_trial(run, record)
    file = weights(run.weights / "toy.safetensors", (record.signature or "").encode(), sweeplora__signature="")
    weights(file, (record.signature or "").encode(), sweeplora__signature=record.signature or "")
    write_result(run, Result("finished", weights="weights/toy.safetensors"))
    return run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of three trials, of which the second is the best, and a single run."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    for number, (signature, value) in enumerate(zip(SIGNATURES, (0.3, 0.1, 0.2), strict=True)):
        record = TrialRecord("complete", "ranks", number, signature, params={"network.dim": 4 + number}, value=value)
        run = a_run(folder / "ranks" / f"{number:03}-{signature}", record)
        (run.path / "mirror.json").write_text(json.dumps({"run_id": f"{number:032x}"}))
    again = TrialRecord("complete", "ranks", 1, "eeeeeeeeeeee", value=0.9, replicate=1)
    a_run(folder / "ranks" / "001.1-eeeeeeeeeeee", again)
    write_study(folder / "ranks", StudyRecord("ranks", "val/loss", 1.0, "finished"))
    a_run(folder / "single" / "cats", TrialRecord("complete", signature="dddddddddddd", value=0.5))
    return folder


@pytest.mark.parametrize(
    ("word", "folder"),
    [
        ("ranks/1.1", "ranks/001.1-eeeeeeeeeeee"),
        ("ranks/001.1", "ranks/001.1-eeeeeeeeeeee"),
        ("001.1-eeeeeeeeeeee", "ranks/001.1-eeeeeeeeeeee"),
        ("ranks/2", "ranks/002-cccccccccccc"),
        ("ranks/002", "ranks/002-cccccccccccc"),
        ("runs/ranks/2", "ranks/002-cccccccccccc"),
        ("ranks/002-cccccccccccc", "ranks/002-cccccccccccc"),
        ("runs/ranks/002-cccccccccccc", "ranks/002-cccccccccccc"),
        ("runs/ranks/002-cccccccccccc/", "ranks/002-cccccccccccc"),
        ("runs/ranks/002-cccccccccccc/trial.json", "ranks/002-cccccccccccc"),
        ("runs/ranks/002-cccccccccccc/weights", "ranks/002-cccccccccccc"),
        ("runs/ranks/002-cccccccccccc/weights/toy.safetensors", "ranks/002-cccccccccccc"),
        ("002-cccccccccccc", "ranks/002-cccccccccccc"),
        ("cccccccccccc", "ranks/002-cccccccccccc"),
        ("cccccc", "ranks/002-cccccccccccc"),
        (f"{2:032x}", "ranks/002-cccccccccccc"),
        ("ranks", "ranks/001-bbbbbbbbbbbb"),
        ("runs/ranks", "ranks/001-bbbbbbbbbbbb"),
        ("cats", "single/cats"),
        ("single/cats", "single/cats"),
        ("runs/single/cats/weights/toy.safetensors", "single/cats"),
    ],
)
def test_a_run_has_many_names(runs: Path, word: str, folder: str) -> None:
    assert find_run(runs, word).path == runs / folder


@pytest.mark.parametrize("word", ["ranks/2.1", "ranks/002.1", "002.1-ffffffffffff", "ffffffffffff"])
def test_a_repetition_is_found_by_its_number_and_is_not_its_trial(runs: Path, word: str) -> None:
    record = TrialRecord("complete", "ranks", 2, "ffffffffffff", value=0.1, replicate=1)
    again = a_run(runs / "ranks/002.1-ffffffffffff", record)
    assert find_run(runs, word).path == again.path
    assert find_run(runs, "ranks/2").path == runs / "ranks/002-cccccccccccc"
    with pytest.raises(UserError, match="no such run"):
        find_run(runs, "ranks/2.2")


def test_a_study_is_found_as_itself_where_a_folder_is_asked_for(runs: Path) -> None:
    assert find_folder(runs, "ranks") == find_folder(runs, "runs/ranks") == runs / "ranks"


def test_a_copied_file_is_known_by_its_content_and_a_changed_one_by_its_signature(runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "0f3a.safetensors"
    copy.write_bytes((runs / "single/cats/weights/toy.safetensors").read_bytes())
    assert find_run(runs, str(copy)).path == runs / "single/cats"
    weights(copy, b"merged", sweeplora__signature=SIGNATURES[0])
    assert find_run(runs, str(copy)).path.name == "000-aaaaaaaaaaaa"
    weights(copy, SIGNATURES[2].encode(), title="stripped of all that it said")
    with pytest.raises(UserError, match="no run below"):
        find_run(runs, str(copy))


@pytest.mark.parametrize(
    ("word", "mend"),
    [
        ("rank", "nearest: ranks"),
        ("cat", "nearest: cats"),
        ("ranks/1.2", "its trials are ranks/0 to ranks/2"),
        ("ranks/7", "its trials are ranks/0 to ranks/2"),
        ("ranks/x", "its trials are ranks/0 to ranks/2"),
        ("", "give a run"),
        ("f" * 32, "there are: ranks, cats"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(runs: Path, word: str, mend: str) -> None:
    with pytest.raises(UserError) as refused:
        find_run(runs, word)
    assert mend in str(refused.value)


def test_a_name_of_two_runs_is_refused_and_both_are_named(runs: Path) -> None:
    record = TrialRecord("complete", "other", 2, SIGNATURES[2], value=0.2)
    a_run(runs / "other" / "002-cccccccccccc", record)
    write_study(runs / "other", StudyRecord("other", "val/loss", 1.0, "finished"))
    with pytest.raises(UserError, match="2 runs are called so: other/002-cccccccccccc, ranks/002-cccccccccccc"):
        find_run(runs, "002-cccccccccccc")
    assert find_run(runs, "cccccccccccc").path.name == "002-cccccccccccc"  # equal runs: either will do


def test_a_study_without_a_complete_trial_asks_for_a_trial(runs: Path) -> None:
    for number, signature in enumerate(SIGNATURES):
        write_trial(
            RunDir(runs / "ranks" / f"{number:03}-{signature}"), TrialRecord("failed", "ranks", number, signature)
        )
    with pytest.raises(UserError, match="no trial of this study is complete"):
        find_run(runs, "ranks")

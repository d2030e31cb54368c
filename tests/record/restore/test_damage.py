"""What is damaged, gone or in the way is named, and all else comes back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.errors import UserError
from sweeplora.record.provenance.environment import LOCK
from sweeplora.record.provenance.session import FOLDER
from sweeplora.record.provenance.session_files import FACTS
from sweeplora.record.provenance.workspace import FOLDER as WORKSPACES
from sweeplora.rundir.files import read_json, sealed, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Attempt, TrialRecord, write_trial
from tests.record.restore.desk import Desk, bring_back


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.chdir(made.path)
    return made


def _archive(run: RunDir) -> Path:
    (archive,) = (run.path.parent.parent / WORKSPACES).glob("*.tar.gz")
    return archive


def _flip(data: bytes) -> bytes:
    """The same archive with a bit of its compressed content changed."""
    return data[:-20] + bytes([data[-20] ^ 16]) + data[-19:]


@pytest.mark.parametrize("damage", [lambda data: data[:60], lambda data: b"", lambda data: data[:-9], _flip])
def test_a_damaged_backup_is_named_and_the_checkout_comes_back(
    desk: Desk, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (desk.path / "untracked.py").write_text("x = 1\n")
    (desk.path / "a.txt").write_text("changed\n")
    made = desk.record()
    archive = _archive(made)
    archive.write_bytes(damage(archive.read_bytes()))
    restored = bring_back(made, tmp_path / "again")
    assert (tmp_path / "again/a.txt").read_text() == "changed\n"
    (note,) = restored.notes
    assert str(archive) in note and "damaged" in note
    lost = {one["path"] for one in restored.missing}
    assert lost <= {"untracked.py"} and lost.isdisjoint(restored.written)
    assert not list((restored.workspace / "runs").glob(f"{WORKSPACES}/*"))
    assert main(["restore", "mine", str(tmp_path / "by command")]) == (1 if lost else 0)


def test_a_backup_that_is_gone_is_said(desk: Desk, tmp_path: Path) -> None:
    made = desk.record()
    _archive(made).unlink()
    (note,) = bring_back(made, tmp_path / "again").notes
    assert "is gone" in note


def test_a_diff_with_a_damaged_backup_names_it(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    first = desk.record()
    archive = _archive(first)
    shutil.move(first.path, first.path.with_name("first"))
    archive.write_bytes(archive.read_bytes()[:60])
    (desk.path / "a.txt").write_text("changed\n")
    desk.record()
    assert main(["diff", "first", "mine"]) == 1
    said = capsys.readouterr().out
    assert f"{archive} is damaged" in said and "changed: a.txt" in said


@pytest.mark.parametrize("place", ["a.txt/x", "a.txt", "/proc/x", "/proc/x/y", "x" * 300])
def test_a_folder_that_cannot_be_is_refused_in_a_line(
    desk: Desk, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    desk.record()
    assert main(["restore", "mine", place]) != 0
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1 and "DIR" in said and "Traceback" not in said


@pytest.mark.parametrize("was_there", [True, False])
def test_an_attempt_that_fails_leaves_nothing(desk: Desk, tmp_path: Path, was_there: bool) -> None:
    made = desk.record()
    config = made.config.read_text()
    made.config.write_text("runs: a.txt\n")  # a file is in the place of the run's record
    if was_there:
        (tmp_path / "new/again").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be written"):
        bring_back(made, tmp_path / "new/again")
    assert (tmp_path / "new/again").exists() == (tmp_path / "new").exists() == was_there
    made.config.write_text(config)
    bring_back(made, tmp_path / "new/again")
    assert (tmp_path / "new/again/a.txt").is_file()


def test_a_restored_run_has_its_own_lock_and_its_backup(desk: Desk, tmp_path: Path) -> None:
    made = desk.record()
    (first,) = (made.path / FOLDER).iterdir()
    facts = read_json(first / FACTS) or {}
    facts = {**facts, "time": facts["time"] - 5000}
    write_json(first / FACTS, sealed({key: value for key, value in facts.items() if key != "digest"}))
    (desk.path / "untracked.py").write_text("x = 1\n")
    desk.record()
    write_trial(made, TrialRecord("complete", signature="a" * 12, attempts=[Attempt(2e9)]))
    restored = bring_back(made, tmp_path / "again")
    (second,) = (one.name for one in (made.path / FOLDER).iterdir() if one != first)
    assert restored.lock == restored.folder / FOLDER / second / LOCK
    desk.carry_off(made)
    twice = bring_back(RunDir(restored.folder), tmp_path / "twice")
    assert (tmp_path / "twice/untracked.py").read_text() == "x = 1\n" and not twice.missing

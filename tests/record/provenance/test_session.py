"""Sessions: written once while nothing changes, and each trial finds its own."""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeplora.record.provenance import session, session_files
from sweeplora.rundir.files import read_json, write_json
from tests.record.provenance.test_git import run


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    folder = tmp_path / "desk"
    folder.mkdir()
    run(folder, "init", "-q", "-b", "work")
    (folder / "a.txt").write_text("one\n")
    run(folder, "add", ".")
    run(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_session_tells_commit_changes_packages_and_machine(desk: Path, tmp_path: Path) -> None:
    (desk / "a.txt").write_text("two\n")
    folder = session.write_session(tmp_path / "study", desk, None)
    facts = read_json(folder / session_files.FACTS) or {}
    assert facts["cores"] >= 1
    assert facts["memory_mib"] > 100
    assert "+two" in (folder / "workspace.patch").read_text()
    assert f"mlflow=={importlib.metadata.version('mlflow')}" in (folder / "packages.txt").read_text().splitlines()
    tags = session.tags_of(folder)
    assert tags["mlflow.source.git.commit"] == run(desk, "rev-parse", "HEAD")
    assert (tags["mlflow.source.git.branch"], tags["mlflow.source.git.dirty"]) == ("work", "true")


def test_an_unchanged_session_is_found_again_and_a_changed_one_is_another(desk: Path, tmp_path: Path) -> None:
    first = session.write_session(tmp_path / "study", desk, None)
    assert session.write_session(tmp_path / "study", desk, None) == first
    (desk / "a.txt").write_text("two\n")
    assert session.write_session(tmp_path / "study", desk, None) != first


def test_a_workspace_that_is_as_before_again_is_another_session(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.time() // 1
    found = []
    for number, content in enumerate(["one\n", "two\n", "one\n", "one\n", "two\n", "one\n"]):
        (desk / "a.txt").write_text(content)
        began = start + (number * 60 if number < 4 else 180 + number / 10)  # the last ones within a second
        monkeypatch.setattr(time, "time", lambda began=began: began)
        folder = session.write_session(tmp_path / "study", desk, None)
        found.append(folder)
        assert session.session_of(tmp_path / "study", began + 1) == folder
    assert len(set(found)) == 5 and found[2] == found[3]
    patches = [(folder / "workspace.patch").is_file() for folder in found]
    assert patches == [False, True, False, False, True, False]


def test_a_trial_belongs_to_the_last_session_before_it(tmp_path: Path) -> None:
    now = time.time()
    for name, when in (("a", now - 1000), ("b", now)):
        folder = tmp_path / session.FOLDER / name
        folder.mkdir(parents=True)
        write_json(folder / session_files.FACTS, {"time": when, "workspace": name})
    found = [session.session_of(tmp_path, when) for when in (now - 5000, now - 500, now - 1, now + 10)]
    assert [folder.name for folder in found if folder] == ["a", "a", "b", "b"]
    assert session.backups_of(tmp_path) == ["a", "b"]


def test_a_study_without_sessions_has_none(tmp_path: Path) -> None:
    assert session.session_of(tmp_path, 0.0) is None
    assert session.backups_of(tmp_path) == []


@pytest.mark.parametrize("damage", ["no folder", "no archive", "git refuses"])
def test_no_fault_of_backup_or_git_ends_the_record(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    monkeypatch.chdir(desk)
    runs = tmp_path / "runs"
    runs.mkdir()
    if damage == "no folder":
        shutil.rmtree(desk)
    elif damage == "no archive":
        (runs / "workspaces").write_text("a file where a folder is needed")
    else:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    session.record_session(runs / "study", runs, {}, 8.0)
    said = capsys.readouterr().err
    if damage == "no folder":
        assert "where the command ran from is not recorded" in said
        return
    folder = session.session_of(runs / "study", time.time())
    assert folder is not None
    tags = session.tags_of(folder)
    if damage == "no archive":
        assert "the workspace is not backed up" in said
        assert "the workspace is not backed up" in tags["sweeplora.provenance.trouble"]
    else:
        assert "dubious ownership" in tags["sweeplora.git.trouble"]
        assert tags["mlflow.source.git.dirty"] == "unknown"
        assert "mlflow.source.git.commit" not in tags


def test_a_changed_caption_is_in_no_patch_of_the_session(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "pics").mkdir()
    for name in ("pics/alone.txt", "work.py"):
        (desk / name).write_text("before\n")
    run(desk, "add", ".")
    run(desk, "commit", "-q", "-m", "second")
    (desk / "pics" / "alone.txt").write_text("a private caption\n")
    (desk / "work.py").write_text("work\n")
    monkeypatch.chdir(desk)
    session.record_session(tmp_path / "study", tmp_path / "runs", {"data": {"dir": "pics"}}, None)
    folder = session.session_of(tmp_path / "study", time.time())
    assert folder is not None
    patch = (folder / "workspace.patch").read_text()
    assert "+work" in patch
    assert "private" not in patch


def test_a_checkout_inside_the_workspace_has_its_own_patch(desk: Path, tmp_path: Path) -> None:
    inside = desk / "ext" / "inside"
    inside.mkdir(parents=True)
    run(inside, "init", "-q", "-b", "side")
    (inside / "patched.py").write_text("x = 1\n")
    run(inside, "add", ".")
    folder = session.write_session(tmp_path / "study", desk, None)
    assert "+x = 1" in (folder / "workspace-ext-inside.patch").read_text()
    assert session.tags_of(folder)["mlflow.source.git.branch"] == "work"


def test_a_run_from_a_folder_below_the_checkouts_root_has_its_state(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "below").mkdir()
    (desk / "below" / "work.py").write_text("x = 1\n")
    (desk / "a.txt").write_text("two\n")
    monkeypatch.chdir(desk / "below")
    session.record_session(tmp_path / "study", tmp_path / "runs", {}, 8.0)
    folder = session.session_of(tmp_path / "study", time.time())
    assert folder is not None
    assert "+two" in (folder / "workspace.patch").read_text()
    files = (read_json(folder / session_files.MANIFEST) or {})["files"]
    assert [file["path"] for file in files] == ["work.py"]


def test_what_a_run_makes_in_the_checkout_is_no_change_of_it(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    for name in ("cache/x", "single/a/log.txt"):
        (desk / "runs" / name).parent.mkdir(parents=True)
        (desk / "runs" / name).write_text("made\n")
        session.record_session(tmp_path / "study", Path("runs"), {}, 8.0)
    folder = session.session_of(tmp_path / "study", time.time())
    assert folder is not None
    assert session.tags_of(folder)["mlflow.source.git.dirty"] == "false"
    assert [entry["path"] for entry in (read_json(folder / session_files.MANIFEST) or {})["left_out"]] == ["runs"]
    assert len(list((tmp_path / "study" / session.FOLDER).iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda data: b"{}", lambda data: b"", lambda data: data.replace(b"time", b"time2")])
def test_a_damaged_session_is_passed_over_and_described_anew(
    desk: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    folder = session.write_session(tmp_path, desk, None)
    facts = folder / session_files.FACTS
    facts.write_bytes(damage(facts.read_bytes()))
    assert session.session_of(tmp_path, 0.0) is None and session.backups_of(tmp_path) == []
    assert session.tags_of(folder) == {"sweeplora.session": folder.name}
    again = session.write_session(tmp_path, desk, None)
    assert session.session_of(tmp_path, 0.0) == again and "mlflow.user" in session.tags_of(again)

"""Sessions: written once while nothing changes, and each trial finds its own."""

from __future__ import annotations

import importlib.metadata
import time
from pathlib import Path

import pytest

from sweeplora.record.provenance import session
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
    facts = read_json(folder / session.FACTS) or {}
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


def test_a_trial_belongs_to_the_last_session_before_it(tmp_path: Path) -> None:
    now = time.time()
    for name, when in (("a", now - 1000), ("b", now)):
        folder = tmp_path / session.FOLDER / name
        folder.mkdir(parents=True)
        write_json(folder / session.FACTS, {"time": when, "workspace": name})
    found = [session.session_of(tmp_path, when) for when in (now - 5000, now - 500, now - 1, now + 10)]
    assert [folder.name for folder in found if folder] == ["a", "a", "b", "b"]
    assert session.backups_of(tmp_path) == ["a", "b"]


def test_a_study_without_sessions_has_none(tmp_path: Path) -> None:
    assert session.session_of(tmp_path, 0.0) is None
    assert session.backups_of(tmp_path) == []

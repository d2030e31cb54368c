"""Commits are found by name, listed along first parents and checked out beside a checkout that stays as it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.nightly.checkouts import commit_of, is_dirty, range_of, worktree

KEY = "nightly.bisect"
WHO = {f"GIT_{role}_{what}": "t@t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), "-c", "init.defaultBranch=main", *words],
        env=os.environ | WHO,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(root: Path, name: str) -> str:
    (root / name).write_text(name)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", f"Add {name}")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """main: a, b, a merge of side, d; side: from a, s. Tags of the same names."""
    root = tmp_path_factory.mktemp("history")
    git(root, "init", "--quiet")
    commit(root, "a")
    git(root, "tag", "a")
    git(root, "checkout", "--quiet", "-b", "side")
    commit(root, "s")
    git(root, "tag", "s")
    git(root, "checkout", "--quiet", "main")
    commit(root, "b")
    git(root, "merge", "--quiet", "--no-ff", "-m", "Merge side", "side")
    commit(root, "d")
    return root


def test_a_range_is_what_first_parents_lead_to_oldest_first(history: Path) -> None:
    found = range_of(history, "a..main", KEY)
    assert [one.subject for one in found.after] == ["Add b", "Merge side", "Add d"]
    assert [one.parents for one in found.after] == [1, 2, 1]
    assert (found.good.subject, found.after[-1].author) == ("Add a", "t@t")


@pytest.mark.parametrize(
    ("written", "mend"),
    [
        ("a", "give GOOD..BAD"),
        ("..main", "give GOOD..BAD"),
        ("a..", "give GOOD..BAD"),
        ("a...main", "give GOOD..BAD"),
        ("nowhere..main", "nowhere names no commit"),
        ("a..--help", "--help names no commit"),
        ("main..main", "nothing between"),
        ("main..a", "main is not an ancestor of a"),
        ("s..main", "s came into main by a merge"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused_in_one_line(history: Path, written: str, mend: str) -> None:
    with pytest.raises(UserError, match=mend) as refused:
        range_of(history, written, KEY)
    line = str(refused.value)
    assert line.startswith(f"nightly.bisect={written}: ")
    assert "\n" not in line


def test_a_worktree_leaves_the_checkout_and_its_changes_alone(history: Path, tmp_path: Path) -> None:
    (history / "a").write_text("being edited")
    (history / "new").write_text("untracked")
    before = git(history, "status", "--porcelain=v2", "--branch")
    try:
        assert is_dirty(history)
        place = tmp_path / "tree"
        with worktree(history, commit_of(history, "s", KEY, "s"), place) as folder:
            assert (folder / "s").is_file()
            assert (folder / "a").read_text() == "a"
            assert not (folder / "b").exists()
        assert not place.exists()
        assert git(history, "status", "--porcelain=v2", "--branch") == before
        assert (history / "a").read_text() == "being edited"
        assert len(git(history, "worktree", "list").splitlines()) == 1
    finally:
        git(history, "checkout", "--quiet", "a")
        (history / "new").unlink()


def test_what_a_killed_command_left_of_a_worktree_is_replaced(history: Path, tmp_path: Path) -> None:
    place = tmp_path / "tree"
    git(history, "worktree", "add", "--quiet", "--detach", str(place), "main")
    (place / "d").write_text("half")
    with worktree(history, commit_of(history, "a", KEY, "a"), place) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [".git", "a"]

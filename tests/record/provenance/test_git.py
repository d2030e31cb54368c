"""The recorded state of real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sweeplora.record.provenance import git


def run(folder: Path, *arguments: str) -> str:
    """Git in a folder, independent of who runs the test."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository on branch `work` with one commit of two text files and a binary one."""
    folder = tmp_path / "check out"
    folder.mkdir()
    run(folder, "init", "-q", "-b", "work")
    (folder / "a.txt").write_text("one\n")
    (folder / "b ü.txt").write_text("two\n")
    (folder / "c.bin").write_bytes(bytes(range(256)))
    run(folder, "add", ".")
    run(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_checkout_is_clean(checkout: Path) -> None:
    repository, patch = git.state(checkout)
    assert repository.commit == run(checkout, "rev-parse", "HEAD")
    assert (repository.branch, repository.dirty, patch) == ("work", False, b"")


def test_the_patch_restores_uncommitted_changes(checkout: Path, tmp_path: Path) -> None:
    (checkout / "a.txt").write_text("changed\n")
    (checkout / "b ü.txt").unlink()
    (checkout / "c.bin").write_bytes(b"\0other")
    repository, patch = git.state(checkout)
    assert repository.dirty
    assert repository.left_out == ["c.bin: binary"]
    run(checkout, "checkout", "-q", ".")
    (tmp_path / "patch").write_bytes(patch)
    run(checkout, "apply", str(tmp_path / "patch"))
    assert (checkout / "a.txt").read_text() == "changed\n"
    assert not (checkout / "b ü.txt").exists()


def test_untracked_files_are_named_and_ignored_ones_are_not(checkout: Path) -> None:
    (checkout / ".git" / "info" / "exclude").write_text("runs/\n")
    (checkout / "runs").mkdir()
    (checkout / "runs" / "x").touch()
    (checkout / "new.py").touch()
    assert git.state(checkout)[0].untracked == ["new.py"]
    assert "runs/x" not in git.listed(checkout)
    assert "new.py" in git.listed(checkout)


def test_a_secret_does_not_get_into_the_patch_not_even_by_being_removed(checkout: Path) -> None:
    (checkout / ".env").write_text("X=1\n")
    (checkout / "a.txt").write_text("key = hf_" + "abcdefghijklmnopqrstuvwxyz0123456789\n")
    run(checkout, "add", ".")
    run(checkout, "commit", "-q", "-m", "oops")
    (checkout / ".env").write_text("X=2\n")
    (checkout / "a.txt").write_text("gone\n")
    (checkout / "b ü.txt").write_text("harmless\n")
    repository, patch = git.state(checkout)
    assert repository.left_out == [".env: looks secret", "a.txt: looks secret"]
    assert b"hf_" not in patch
    assert b"+harmless" in patch


def test_a_patch_does_not_grow_without_end(checkout: Path) -> None:
    (checkout / "a.txt").write_text("a long line of text\n" * 200_000)
    (checkout / "b ü.txt").write_text("small\n")
    repository, patch = git.state(checkout)
    assert repository.left_out == ["a.txt: the differences are too large"]
    assert b"+small" in patch


def test_remotes_lose_their_credentials(checkout: Path) -> None:
    run(checkout, "remote", "add", "origin", "https://me:" + "hunter22@host.example/repo.git")
    run(checkout, "remote", "add", "other", "git@host.example:me/repo.git")
    remotes = git.state(checkout)[0].remotes
    assert remotes == {"origin": "https://host.example/repo.git", "other": "git@host.example:me/repo.git"}


def test_a_repository_without_a_commit_has_a_state(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "new.txt").touch()
    repository, patch = git.state(tmp_path)
    assert (repository.commit, repository.branch, repository.untracked, patch) == (None, "main", ["new.txt"], b"")


def test_a_detached_head_has_no_branch(checkout: Path) -> None:
    run(checkout, "checkout", "-q", "--detach")
    assert git.state(checkout)[0].branch is None


def test_a_folder_without_git_has_no_repository(tmp_path: Path) -> None:
    assert git.repository_of(tmp_path) is None

"""The recorded state of real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
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
    assert repository.left_out == []
    run(checkout, "checkout", "-q", ".")
    (tmp_path / "patch").write_bytes(patch)
    run(checkout, "apply", str(tmp_path / "patch"))
    assert (checkout / "a.txt").read_text() == "changed\n"
    assert not (checkout / "b ü.txt").exists()
    assert (checkout / "c.bin").read_bytes() == b"\0other"


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


HOSTILE = """
[diff]
    noprefix = true
    mnemonicPrefix = true
    external = false
    context = 0
    interHunkContext = 9
    renames = copies
    relative = true
    submodule = diff
    ignoreSubmodules = all
    wsErrorHighlight = all
    suppressBlankEmpty = true
    orderFile = {order}
    algorithm = patience
[diff "shout"]
    textconv = tr a-z A-Z <
    command = false
[color]
    ui = always
    diff = always
[core]
    quotePath = true
    autocrlf = {autocrlf}
    attributesFile = {attributes}
    pager = false
    fsmonitor = true
[status]
    showUntrackedFiles = no
    short = true
    renames = copies
"""


def contents(folder: Path) -> dict[str, tuple[str, bool]]:
    """Every file outside of `.git`: what it holds (ends of lines apart) or links to, and whether it can be run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = (os.readlink(path), False)
        elif path.is_file() and ".git" not in path.relative_to(folder).parts:
            found[name] = (path.read_bytes().replace(b"\r\n", b"\n").decode("latin-1"), os.access(path, os.X_OK))
    return found


@pytest.mark.parametrize("autocrlf", ["true", "input", "false"])
def test_the_patch_applies_whatever_the_configuration_says(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autocrlf: str
) -> None:
    (tmp_path / "order").write_text("*.bin\n")
    (tmp_path / "attributes").write_text("*.txt diff=shout\n")
    hostile = HOSTILE.format(order=tmp_path / "order", attributes=tmp_path / "attributes", autocrlf=autocrlf)
    (tmp_path / "config").write_text(hostile)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    (checkout / "lines.txt").write_text("".join(f"line {number}\n" for number in range(40)))
    (checkout / 'odd "name"\t\\ü.txt').write_text("odd\n")
    (checkout / "run.sh").write_text("#!/bin/sh\n")
    (checkout / "link").symlink_to("a.txt")
    run(checkout, "add", ".")
    run(checkout, "commit", "-q", "-m", "second")
    run(checkout, "mv", "b ü.txt", "moved.txt")  # staged: a rename
    (checkout / "moved.txt").write_text("two\nthree\n")  # and unstaged on top of it
    (checkout / "lines.txt").write_text("".join(f"line {number}{'!' * (number == 20)}\n\n" for number in range(40)))
    (checkout / 'odd "name"\t\\ü.txt').write_text("odder\n")
    (checkout / "run.sh").chmod(0o755)
    (checkout / "link").unlink()
    (checkout / "link").symlink_to("c.bin")
    (checkout / "c.bin").write_bytes(bytes(reversed(range(256))))
    (checkout / "a.txt").unlink()
    (checkout / "a.txt").symlink_to("c.bin")
    wanted = contents(checkout)
    repository, patch = git.state(checkout)
    assert (repository.left_out, repository.trouble) == ([], "")
    (tmp_path / "patch").write_bytes(patch)
    again = tmp_path / "again"
    run(tmp_path, "clone", "-q", str(checkout), str(again))
    run(again, "apply", str(tmp_path / "patch"))
    assert contents(again) == wanted


@pytest.fixture
def with_submodule(checkout: Path, tmp_path: Path) -> Path:
    """The checkout with a submodule `ext/sub` in it."""
    other = tmp_path / "other"
    other.mkdir()
    run(other, "init", "-q", "-b", "main")
    (other / "inner.txt").write_text("inner\n")
    run(other, "add", ".")
    run(other, "commit", "-q", "-m", "inner")
    run(checkout, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "ext/sub")
    run(checkout, "commit", "-q", "-m", "submodule")
    return checkout


def test_a_change_inside_a_submodule_makes_dirty_and_has_a_patch_of_its_own(with_submodule: Path) -> None:
    sub = with_submodule / "ext" / "sub"
    assert git.nested(with_submodule) == [sub]
    (sub / "inner.txt").write_text("changed\n")
    outer, patch = git.state(with_submodule)
    assert (outer.dirty, patch) == (True, b"")
    inner, patch = git.state(sub)
    assert inner.dirty
    assert b"+changed" in patch


def test_a_submodule_on_another_commit_is_in_a_patch_that_applies(with_submodule: Path, tmp_path: Path) -> None:
    sub = with_submodule / "ext" / "sub"
    (sub / "inner.txt").write_text("changed\n")
    run(sub, "commit", "-q", "-am", "more")
    (sub / "inner.txt").write_text("and dirty\n")
    _, patch = git.state(with_submodule)
    assert f"+Subproject commit {run(sub, 'rev-parse', 'HEAD')}\n".encode() in patch
    (tmp_path / "patch").write_bytes(patch)
    run(with_submodule, "apply", "--reverse", "--check", str(tmp_path / "patch"))


def test_a_repository_without_a_commit_and_everything_staged_is_not_clean(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    run(folder, "init", "-q", "-b", "main")
    (folder / "new.txt").write_text("new\n")
    run(folder, "add", ".")
    repository, patch = git.state(folder)
    assert (repository.commit, repository.dirty, repository.trouble) == (None, True, "")
    (tmp_path / "patch").write_bytes(patch)
    (tmp_path / "again").mkdir()
    run(tmp_path / "again", "apply", str(tmp_path / "patch"))
    assert (tmp_path / "again" / "new.txt").read_text() == "new\n"


def test_a_file_that_must_not_be_recorded_is_not_in_the_patch(checkout: Path) -> None:
    (checkout / "a.txt").write_text("a caption\n")
    (checkout / "b ü.txt").write_text("work\n")
    repository, patch = git.state(checkout, lambda path: "data" if path.name == "a.txt" else None)
    assert repository.left_out == ["a.txt: data"]
    assert b"caption" not in patch
    assert b"+work" in patch


def test_a_folder_below_the_root_belongs_to_the_checkout(checkout: Path) -> None:
    (checkout / "below" / "more").mkdir(parents=True)
    (checkout / "below" / "more" / "x.py").touch()
    assert git.repository_of(checkout / "below" / "more") == checkout
    assert git.listed(checkout / "below") == ["more/x.py"]


def test_a_worktree_is_a_checkout(checkout: Path, tmp_path: Path) -> None:
    run(checkout, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "side")
    (tmp_path / "tree" / "a.txt").write_text("changed\n")
    root = git.repository_of(tmp_path / "tree")
    assert root == tmp_path / "tree"
    repository, patch = git.state(root)
    assert (repository.branch, repository.dirty) == ("side", True)
    assert b"+changed" in patch


def test_a_hook_that_starts_a_run_does_not_point_git_elsewhere(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    (checkout / "below").mkdir()
    assert git.repository_of(checkout / "below") == checkout
    assert git.state(checkout)[0].dirty is False


def damage_index(checkout: Path) -> None:
    """A file of the right name that is no index."""
    (checkout / ".git" / "index").write_bytes(b"not an index" * 20)


def lose_objects(checkout: Path) -> None:
    """Every object gone, the references are still there."""
    for path in (checkout / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.unlink()


def lose_git_folder(checkout: Path) -> None:
    """A `.git` without anything in it."""
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").mkdir()


def lose_main_repository(checkout: Path) -> None:
    """A worktree or submodule whose repository was moved away."""
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_text("gitdir: /nowhere/at/all\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_index, "index file"),
        (lose_objects, "fatal: "),
        (lose_git_folder, "not a git repository"),
        (lose_main_repository, "not a git repository"),
    ],
)
def test_where_git_refuses_the_state_is_unknown_and_gits_sentence_is_kept(
    checkout: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(checkout)
    assert git.repository_of(checkout) == checkout
    repository, patch = git.state(checkout)
    assert repository.dirty is None
    assert said in repository.trouble
    assert patch == b""


def test_a_checkout_of_another_user_is_not_called_clean(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert git.repository_of(checkout) == checkout
    repository, _ = git.state(checkout)
    assert (repository.commit, repository.dirty) == (None, None)
    assert "dubious ownership" in repository.trouble


def test_a_machine_without_git_says_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    repository, _ = git.state(checkout)
    assert (repository.dirty, repository.trouble) == (None, "git is not installed")


def test_an_index_that_is_locked_is_read_all_the_same(checkout: Path) -> None:
    (checkout / ".git" / "index.lock").touch()
    (checkout / "a.txt").write_text("changed\n")
    repository, patch = git.state(checkout)
    assert (repository.dirty, repository.trouble) == (True, "")
    assert b"+changed" in patch


def test_a_bare_repository_is_no_checkout(tmp_path: Path) -> None:
    run(tmp_path, "init", "-q", "--bare", "bare.git")
    assert git.repository_of(tmp_path / "bare.git") is None


def test_a_folder_without_git_has_no_repository(tmp_path: Path) -> None:
    assert git.repository_of(tmp_path) is None


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_change_that_git_was_told_not_to_look_at_is_not_clean(checkout: Path, mark: str) -> None:
    run(checkout, "update-index", mark, "a.txt", "b ü.txt")
    assert git.state(checkout)[0].dirty is False
    (checkout / "b ü.txt").write_text("changed\n")
    repository, _ = git.state(checkout)
    assert repository.dirty
    assert repository.left_out == ["b ü.txt: git is told not to look at it, and it has changed"]

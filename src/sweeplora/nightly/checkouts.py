"""Commits of the checkout that this package runs from: found by name, listed, checked out as worktrees."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import sweeplora
from sweeplora.errors import UserError
from sweeplora.record.provenance.ask_git import GitError, ask
from sweeplora.record.provenance.git import repository_of

_QUIETLY = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")


class Commit(NamedTuple):
    """A commit, for people: `subject` is the first line of its message."""

    id: str
    parents: int
    author: str
    subject: str

    @property
    def short(self) -> str:
        """The first twelve digits."""
        return self.id[:12]


class Range(NamedTuple):
    """GOOD, and the commits after it up to BAD, oldest first, along first parents."""

    good: Commit
    after: tuple[Commit, ...]


def package_checkout(key: str, value: str) -> Path:
    """The root of the checkout that this package runs from. Raises UserError if it runs from none."""
    package = Path(sweeplora.__file__).resolve().parent
    root = repository_of(package)
    if root is None or not (root / "src" / "sweeplora").is_dir():
        mend = f"the package runs from {package.parent}, which is no git checkout; run it from one"
        raise UserError(key, value, mend)
    return root


def commit_of(root: Path, ref: str, key: str, value: str) -> Commit:
    """The commit that a name stands for. Raises UserError, about `key` and `value`, if it stands for none."""
    try:
        found = _text(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except GitError:
        shallow = _text(root, "rev-parse", "--is-shallow-repository") == "true"
        more = "this checkout is shallow: git fetch --unshallow --tags" if shallow else "see git log --oneline"
        raise UserError(key, value, f"{ref or 'an empty name'} names no commit of {root}; {more}") from None
    return _described(root, "--max-count=1", found)[0]


def range_of(root: Path, written: str, key: str) -> Range:
    """`GOOD..BAD`. Raises UserError for another form, an unknown name, or a GOOD that does not lead to BAD."""
    good_name, dots, bad_name = written.partition("..")
    if not dots or not good_name or not bad_name or bad_name.startswith("."):
        raise UserError(key, written, "give GOOD..BAD: two commits, the first of which was good")
    good, bad = (commit_of(root, name, key, written) for name in (good_name, bad_name))
    if good.id == bad.id:
        raise UserError(key, written, f"both are {good.short}; there is nothing between them")
    try:
        _text(root, "merge-base", "--is-ancestor", good.id, bad.id)
    except GitError:
        mend = f"{good_name} is not an ancestor of {bad_name}; start from git merge-base {good_name} {bad_name}"
        raise UserError(key, written, mend) from None
    chain = _described(root, "--first-parent", "--reverse", f"{good.id}..{bad.id}")
    if _text(root, "rev-parse", f"{chain[0].id}^1") != good.id:
        mend = (
            f"{good_name} came into {bad_name} by a merge; take a commit that git log --first-parent {bad_name} shows"
        )
        raise UserError(key, written, mend)
    return Range(good, tuple(chain))


@contextmanager
def worktree(root: Path, commit: Commit, folder: Path) -> Iterator[Path]:
    """A worktree of a commit at `folder`, removed afterwards; whatever was left there by a killed command goes first.

    The checkout at `root`, its branch and its uncommitted changes stay as they are. Raises GitError. Forced twice: the
    folder may be registered by a command that was killed and whose files are gone.
    """
    _remove(root, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    ask(root, *_QUIETLY, "worktree", "add", "--quiet", "--force", "--force", "--detach", str(folder), commit.id)
    try:
        yield folder
    finally:
        _remove(root, folder)


def is_dirty(root: Path) -> bool:
    """Whether tracked files of the checkout have uncommitted changes."""
    return bool(_text(root, "status", "--porcelain", "--untracked-files=no"))


def _remove(root: Path, folder: Path) -> None:
    if folder.exists():
        with suppress(GitError):
            ask(root, "worktree", "remove", "--force", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _described(root: Path, *words: str) -> list[Commit]:
    output = _text(root, "log", "--no-show-signature", "--format=%H%x00%P%x00%an%x00%s", *words)
    fields = [line.split("\0") for line in output.splitlines()]
    return [Commit(one, len(parents.split()), author, subject) for one, parents, author, subject in fields]


def _text(root: Path, *words: str) -> str:
    return ask(root, *words).decode(errors="replace").strip()

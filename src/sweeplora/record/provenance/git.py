"""The state of a git repository: commit, branch, remotes, uncommitted changes and untracked files.

The index must not be refreshed (GIT_OPTIONAL_LOCKS) while its owner may be committing, and a machine without git
simply has no state to record.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # or importing it fails where git is not installed

from git import InvalidGitRepositoryError, NoSuchPathError, Repo
from git.exc import GitCommandError

from sweeplora.record.provenance.secret import holds_secret, is_secret_name, without_credentials

_DIFF_CAP = 2 << 20
_UNTRACKED_CAP = 10_000
_SECONDS = 60


@dataclass(frozen=True)
class Repository:
    """What a checkout was like: `commit` is None before the first one, `branch` is None on a detached head."""

    root: str
    commit: str | None
    branch: str | None
    remotes: dict[str, str]
    dirty: bool
    untracked: list[str]
    left_out: list[str]
    """Changed files whose differences are not in the diff, and why."""


def repository_of(folder: Path) -> Path | None:
    """The root of the checkout that `folder` lies in, None where there is none or no git."""
    if shutil.which("git") is None or not folder.is_dir():
        return None
    try:
        root = Repo(folder, search_parent_directories=True).working_tree_dir
    except (InvalidGitRepositoryError, NoSuchPathError):
        return None
    return Path(root) if root else None


def state(root: Path) -> tuple[Repository, bytes]:
    """The state of the checkout at `root` and its uncommitted changes as a patch that `git apply` takes.

    Binary files, secret-looking ones and what goes beyond 2 MiB in all are left out of the patch, and named.
    """
    repo = Repo(root)
    born = repo.head.is_valid()
    untracked = _names(root, "ls-files", "--others", "--exclude-standard", "-z")
    patch, left_out = _patch(root) if born else (b"", [])
    repository = Repository(
        root=str(root),
        commit=repo.head.commit.hexsha if born else None,
        branch=None if repo.head.is_detached else repo.head.reference.name,
        remotes={remote.name: without_credentials(remote.url) for remote in repo.remotes},
        dirty=bool(patch or left_out or untracked),
        untracked=untracked[:_UNTRACKED_CAP],
        left_out=left_out,
    )
    return repository, patch


def listed(folder: Path) -> list[str]:
    """Files below `folder` that git tracks or would track, relative to it."""
    return sorted(set(_names(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z")))


def _patch(root: Path) -> tuple[bytes, list[str]]:
    options = ["--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"]
    whole = _run(root, "diff", *options, "HEAD") or b""
    kept, left_out, size = [], [], 0
    for name, part in _parts(whole):
        if is_secret_name(name) or holds_secret(part):
            left_out.append(f"{name}: looks secret")
        elif b"\nBinary files " in part:
            left_out.append(f"{name}: binary")
        elif size + len(part) > _DIFF_CAP:
            left_out.append(f"{name}: the differences are too large")
        else:
            kept.append(part)
            size += len(part)
    return b"".join(kept), left_out


def _parts(patch: bytes) -> Iterator[tuple[str, bytes]]:
    """(file name, its part) for every file of a patch made without renames."""
    marker = b"diff --git "
    starts = [0] if patch.startswith(marker) else []
    at = patch.find(b"\n" + marker)
    while at >= 0:
        starts.append(at + 1)
        at = patch.find(b"\n" + marker, at + 1)
    for start, end in pairwise([*starts, len(patch)]):
        part = patch[start:end]
        header = part.partition(b"\n")[0].removeprefix(marker).decode(errors="replace")
        # `a/NAME b/NAME`: both halves name the same file
        yield header[: len(header) // 2].strip('"').removeprefix("a/"), part


def _names(root: Path, *arguments: str) -> list[str]:
    output = _run(root, *arguments) or b""
    return [os.fsdecode(name) for name in output.split(b"\0") if name]


def _run(root: Path, *arguments: str) -> bytes | None:
    """Standard output of git, None when it fails or takes a minute (a checkout on a drive far away)."""
    command = ["git", "-c", "core.quotePath=false", *arguments]
    try:
        output = Repo(root).git.execute(
            command,
            env={"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            kill_after_timeout=_SECONDS,
        )
    except GitCommandError:
        return None
    return output if isinstance(output, bytes) else None

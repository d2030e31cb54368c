"""The state of a git checkout: commit, branch, remotes, uncommitted changes and untracked files.

All information comes from the `git` command, run through GitPython. If git refuses, the record quotes its message; an
unknown state is never called clean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sweeplora.record.provenance.ask_git import GitError, ask
from sweeplora.record.provenance.exclusions import OUTPUTS
from sweeplora.record.provenance.hidden_changes import hidden_changes
from sweeplora.record.provenance.secret import holds_secret, is_secret_name, without_credentials

_DIFF_CAP = 2 << 20
_UNTRACKED_CAP = 10_000
_SOURCES = (".py", ".yaml")

# A patch that `git apply` takes, whatever the user's configuration says of diffs. Submodules have their own patches.
_DIFF = ["--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-relative", "--binary", "--full-index"]
_DIFF += ["--src-prefix=a/", "--dst-prefix=b/", "-O/dev/null", "-U3", "--inter-hunk-context=0"]
_DIFF += ["--submodule=short", "--ignore-submodules=dirty", "--diff-algorithm=myers", "--ws-error-highlight=none"]
_STATUS = ["--porcelain=v2", "--branch", "--untracked-files=all", "--no-renames", "--ignore-submodules=none", "-z"]

_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True)
class Repository:
    """The state of a checkout: `commit` is None before the first commit, `branch` is None on a detached HEAD.

    `dirty` is None if git does not tell; `trouble` is then its message.
    """

    root: str
    commit: str | None
    branch: str | None
    remotes: dict[str, str]
    dirty: bool | None
    untracked: list[str]
    left_out: list[str]
    """Changed files whose differences are not in the patch, and why."""
    trouble: str = ""
    describe: str = ""
    """The commit as `git describe --tags --always` names it."""


def repository_of(folder: Path) -> Path | None:
    """The root of the checkout that contains `folder`, None if there is none.

    If git refuses to look, it is the folder that has a `.git`.
    """
    marked = next((each for each in (folder, *folder.parents) if os.path.lexists(each / ".git")), None)
    if marked is None:
        return None
    try:
        answer = ask(folder, "rev-parse", "--show-toplevel")
    except GitError:
        return marked
    return Path(os.fsdecode(answer.removesuffix(b"\n")))


def nested(root: Path) -> list[Path]:
    """Checkouts inside the one at `root`, at any depth: submodules and other nested checkouts."""
    found = []
    try:
        names = listed(root)
    except GitError:
        return []
    for name in names:
        folder = root / name
        if folder.is_dir() and not folder.is_symlink() and is_checkout(folder):
            found += [folder, *nested(folder)]
    return found


def is_checkout(folder: Path) -> bool:
    """Whether the folder itself is the root of a checkout."""
    return os.path.lexists(folder / ".git")


def listed(folder: Path) -> list[str]:
    """Files below `folder` that git tracks or would track, relative to it; a nested checkout is one name.

    Raises GitError if git refuses.
    """
    output = ask(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    return sorted({os.fsdecode(name).rstrip("/") for name in output.split(b"\0") if name})


def ignored_sources(folder: Path, places: Iterable[str]) -> list[str]:
    """Python and YAML files that git ignores, directly in `folder` and below the `places` in it, relative to it.

    Raises GitError if git refuses.
    """
    # No pattern: to match one, git would look into every ignored folder, as environments and data are.
    here = [entry.name for entry in os.scandir(folder) if entry.name.endswith(_SOURCES) and entry.is_file()]
    named = [f":(literal){name}" for name in [*here, *(f"{place}/" for place in places)]]
    if not named:
        return []
    output = ask(folder, "ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--", *named)
    names = {os.fsdecode(name) for name in output.split(b"\0") if name}
    return sorted(name for name in names if name.endswith(_SOURCES))


def state(root: Path, why_out: Callable[[Path], str | None] = lambda _: None) -> tuple[Repository, bytes]:
    """The state of the checkout at `root` and its uncommitted changes as a patch that `git apply` takes.

    `why_out` says why a file must not be recorded. Such files, files that look secret, and files beyond a total of
    2 MiB are left out of the patch, and named.
    """
    troubles: list[str] = []

    def told(*arguments: str) -> bytes | None:
        try:
            return ask(root, *arguments)
        except GitError as error:
            troubles.append(str(error))
            return None

    status = told("status", *_STATUS)
    lines = (status or b"").split(b"\0")
    head = dict(line[2:].split(b" ", 1) for line in lines if line.startswith(b"# "))
    changes = [line for line in lines if line and not line.startswith(b"# ")]
    tracked = [line for line in changes if not line.startswith(b"? ")]
    untracked = [os.fsdecode(line[2:]) for line in changes if line.startswith(b"? ")]
    untracked = [name for name in untracked if why_out(root / name) != OUTPUTS]  # this run's own outputs are no change
    commit = _commit(root) if status is None else _named(head.get(b"branch.oid"))
    patch, left_out = b"", list[str]()
    if tracked:
        against = b"HEAD" if commit else told("hash-object", "-t", "tree", "/dev/null")
        whole = told("diff", *_DIFF, against.decode().strip()) if against else None
        patch, left_out = _kept(whole or b"", root, why_out)
    hidden = _hidden(root, troubles) if status is not None else []
    left_out += [f"{name}: git is told not to look at it, and it has changed" for name in hidden]
    repository = Repository(
        root=str(root),
        commit=commit,
        branch=_named(head.get(b"branch.head")),
        remotes=_remotes(root),
        dirty=bool(tracked or untracked or hidden) if status is not None else None,
        untracked=untracked[:_UNTRACKED_CAP],
        left_out=left_out,
        trouble="; ".join(dict.fromkeys(troubles)),
        describe=_describe(root) if commit else "",
    )
    return repository, patch


def _hidden(root: Path, troubles: list[str]) -> list[str]:
    try:
        return hidden_changes(root)
    except GitError as error:
        troubles.append(str(error))
        return []


def _named(value: bytes | None) -> str | None:
    """A commit or branch from `git status`, which prints `(initial)` and `(detached)` if there is none."""
    return None if value is None or value.startswith(b"(") else value.decode(errors="replace")


def _describe(root: Path) -> str:
    try:
        return ask(root, "describe", "--tags", "--always").decode(errors="replace").strip()
    except GitError:
        return ""


def _commit(root: Path) -> str | None:
    """The commit that HEAD names, even if its objects are damaged."""
    try:
        return ask(root, "rev-parse", "--verify", "--quiet", "HEAD").decode().strip()
    except GitError:
        return None


def _remotes(root: Path) -> dict[str, str]:
    try:
        output = ask(root, "config", "-z", "--get-regexp", r"^remote\..*\.url$")
    except GitError:  # there are none, or the other commands have reported why
        return {}
    pairs = [entry.decode(errors="replace").partition("\n") for entry in output.split(b"\0") if entry]
    return {key.removeprefix("remote.").removesuffix(".url"): without_credentials(url) for key, _, url in pairs}


def _kept(patch: bytes, root: Path, why_out: Callable[[Path], str | None]) -> tuple[bytes, list[str]]:
    kept, left_out, size = [], [], 0
    for name, part in parts(patch):
        why = why_out(root / name)
        if why is None and (is_secret_name(name) or holds_secret(part, name)):
            why = "looks secret"
        if why is None and size + len(part) > _DIFF_CAP:
            why = "the differences are too large"
        if why is None:
            kept.append(part)
            size += len(part)
        else:
            left_out.append(f"{name}: {why}")
    return b"".join(kept), list(dict.fromkeys(left_out))


def parts(patch: bytes) -> Iterator[tuple[str, bytes]]:
    """(file name, its part) for every file in a patch made without renames."""
    marker = b"diff --git "
    starts = [0] if patch.startswith(marker) else []
    at = patch.find(b"\n" + marker)
    while at >= 0:
        starts.append(at + 1)
        at = patch.find(b"\n" + marker, at + 1)
    for start, end in pairwise([*starts, len(patch)]):
        part = patch[start:end]
        header = part.partition(b"\n")[0].removeprefix(marker)
        # `a/NAME b/NAME`: both halves are the same file
        yield os.fsdecode(_unquoted(header[: len(header) // 2]).removeprefix(b"a/")), part


def _unquoted(name: bytes) -> bytes:
    """Undo git's quoting of a file name, used if it has quotes, backslashes or control characters."""
    if not name.startswith(b'"'):
        return name
    return _ESCAPE.sub(_character, name[1:-1])


def _character(match: re.Match[bytes]) -> bytes:
    text = match[1]
    return bytes([int(text, 8)]) if len(text) == 3 else _ESCAPED.get(text, text)

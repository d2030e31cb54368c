"""A checkout as a session recorded it: cloned at its commit from wherever that is reachable, then patched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.record.provenance.ask_git import NOT_OURS, GitError, ask
from sweeplora.record.provenance.git import parts
from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.restore.target import empty

_SECONDS = 900
_MOST_NAMES = 200
"""File names in one command."""

_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes", "LC_ALL": "C"}

# Whatever the user's configuration says: no conversion of line ends, no hooks, and a patch exactly as written. What
# Git LFS has no more is a pointer, not a checkout that fails.
_SETTINGS = (
    *("core.autocrlf=false", "core.safecrlf=false", "core.hooksPath=/dev/null", "core.fsmonitor=false"),
    *("core.attributesFile=/dev/null", "filter.lfs.required=false", "core.quotePath=false"),
    *("apply.whitespace=nowarn", "apply.ignoreWhitespace=no", "advice.detachedHead=false", "core.symlinks=true"),
    *("core.fileMode=true", "checkout.guess=false", "submodule.recurse=false"),
)


@dataclass(frozen=True)
class Recorded:
    """A checkout as its session describes it; `place` is relative to DIR.

    `patch` holds its uncommitted changes but those of the files that `left_out` names, each with the reason.
    """

    label: str
    root: str
    place: str
    commit: str | None
    branch: str | None
    remotes: Mapping[str, str]
    patch: Path | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedOut:
    """How a checkout came back: `source` it was cloned from, None if its commit is nowhere; `notes` for the user."""

    recorded: Recorded
    source: str | None
    notes: tuple[str, ...]


def recorded_checkouts(facts: Mapping[str, Any], session: Path) -> list[Recorded]:
    """The workspace's checkout and those nested in it, outer ones first; empty if the workspace was none."""
    entries = [one for one in facts.get("repositories") or [] if str(one["label"]).partition("-")[0] == "workspace"]
    outer = next((one["root"] for one in entries if one["label"] == "workspace"), None)
    if outer is None:
        return []
    found = []
    for one in entries:
        patch = session / f"{one['label']}.patch"
        found.append(
            Recorded(
                label=one["label"],
                root=one["root"],
                place=os.path.relpath(one["root"], outer),
                commit=one.get("commit"),
                branch=one.get("branch"),
                remotes=one.get("remotes") or {},
                patch=patch if patch.is_file() else None,
                left_out=tuple(str(named) for named in one.get("left_out") or ()),
            )
        )
    return sorted(found, key=lambda one: len(Path(one.place).parts))


def check_out(recorded: Recorded, into: Path) -> CheckedOut:
    """Clone a checkout at its commit into an empty or missing folder and apply its patch.

    Nothing is left in the folder if the commit cannot be had from any remote nor from where the checkout was.
    """
    if recorded.commit is None:
        return CheckedOut(recorded, None, (f"{recorded.label} had no commit yet",))
    failures = []
    for source in _sources(recorded):
        wrong = _cloned(source, recorded, into)
        if wrong is None:
            notes = _patched(recorded, into)
            return CheckedOut(recorded, source, tuple(notes))
        failures.append(f"{without_credentials(source)}: {wrong}")
    why = "; ".join(failures) or "it has no remote, and its folder is gone"
    return CheckedOut(recorded, None, (f"{recorded.label}: commit {recorded.commit[:12]} is not reachable ({why})",))


def _sources(recorded: Recorded) -> Iterator[str]:
    """Where to clone from: the remotes, origin first, then the folder that the checkout was in."""
    for name in sorted(recorded.remotes, key=lambda name: (name != "origin", name)):
        url = recorded.remotes[name]
        is_relative = not os.path.isabs(url) and "://" not in url and ":" not in url
        yield os.path.normpath(os.path.join(recorded.root, url)) if is_relative else url
    if os.path.lexists(os.path.join(recorded.root, ".git")):
        yield recorded.root


def _cloned(source: str, recorded: Recorded, into: Path) -> str | None:
    """Clone and check out the commit; returns what went wrong."""
    assert recorded.commit is not None
    was_there = into.is_dir()
    into.parent.mkdir(parents=True, exist_ok=True)
    wrong = _git(None, "clone", "--quiet", "--no-checkout", "--origin", "origin", "--", source, str(into))
    if wrong is None and _git(into, "cat-file", "-e", f"{recorded.commit}^{{commit}}") is not None:
        wrong = _git(into, "fetch", "--quiet", "origin", recorded.commit)  # on no branch of the remote (any more)
    if wrong is None:
        on = ["-B", recorded.branch] if recorded.branch else ["--detach"]
        wrong = _git(into, "checkout", "--quiet", "--force", *on, recorded.commit)
    if wrong is not None:
        empty(into, remove=not was_there)
        return wrong
    origin = recorded.remotes.get("origin")
    if origin:
        _git(into, "remote", "set-url", "origin", origin)
    return None


def _patched(recorded: Recorded, into: Path) -> list[str]:
    """Apply the patch; what of it does not apply is named, and comes from the backup where that has it."""
    if recorded.patch is None:
        return []
    patch = str(recorded.patch.resolve())
    wrong = _git(into, "apply", "--binary", "--whitespace=nowarn", patch)
    if wrong is None:
        _note_new_files(recorded.patch, into)
        return []
    partly = _git(into, "apply", "--binary", "--whitespace=nowarn", "--reject", patch)
    for reject in into.rglob("*.rej"):
        reject.unlink()
    return [f"{recorded.label}: its patch applies in part ({partly or wrong})"]


def tracked(checkout: Path) -> list[str]:
    """The files that git tracks in a checkout, relative to it."""
    try:
        output = ask(checkout, "ls-files", "--cached", "-z")
    except GitError:
        return []
    return sorted({os.fsdecode(name) for name in output.split(b"\0") if name})


def _note_new_files(patch: Path, into: Path) -> None:
    """Have git know of the files that a patch creates, as it did: they are in the next patch of this checkout too."""
    created = [name for name, part in parts(patch.read_bytes()) if b"\nnew file mode 1" in part.partition(b"\n@@")[0]]
    names = [name for name in created if (into / name).is_symlink() or (into / name).is_file()]
    for at in range(0, len(names), _MOST_NAMES):
        _git(into, "--literal-pathspecs", "add", "--intent-to-add", "--force", "--", *names[at : at + _MOST_NAMES])


def _git(folder: Path | None, *arguments: str) -> str | None:
    """Run git; returns its message if it fails."""
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    place = [] if folder is None else ["-C", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS} | _ENVIRONMENT
    try:
        done = subprocess.run(
            ["git", *place, *settings, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except FileNotFoundError:
        return "git is not installed"
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").splitlines()
    said = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
    return without_credentials("; ".join(said))[:300] or f"git {arguments[0]} failed"

"""The sessions of two runs compared: the files of their workspaces, their checkouts, their environments."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeplora.record.provenance.environment import LOCK
from sweeplora.record.provenance.packed import read_backup
from sweeplora.record.provenance.session import owner_of, record_session, session_of
from sweeplora.record.provenance.session_files import read_facts, read_manifest
from sweeplora.record.provenance.workspace import FOLDER as WORKSPACES
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.plain_record import read_plain_trial

_HARDWARE = ("python", "torch", "system", "processor", "cores", "gpus", "host", "variables")
_MOST_BYTES = 1 << 20
_CAP_MIB = 64.0
_WORKSPACE = "workspace"
"""Begins the labels of the checkouts in the workspace."""


@dataclass(frozen=True)
class Session:
    """What is known of where a run was started: facts, its workspace's files (path -> sha256), patches by label."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    archive: Path | None = None
    lock: str = ""
    patches: Mapping[str, str] = field(default_factory=dict)


def session_of_run(run: RunDir) -> Session:
    """The session that a run belongs to; an empty one if none was recorded."""
    trial = read_plain_trial(run.trial) or {}
    attempts = trial.get("attempts") or []
    began = attempts[0].get("started") if attempts else None
    folder = session_of(owner_of(run.path), float("inf") if began is None else float(began))
    return Session() if folder is None else _read(folder, run.path.parent.parent / WORKSPACES)


def session_of_now(config: Mapping[str, Any], runs: Path, scratch: Path) -> Session:
    """The present as a session: the working directory and this environment; its backup is written below `scratch`."""
    cap_mib = float((config.get("tracking") or {}).get("workspace_cap_mib") or _CAP_MIB)
    record_session(scratch / "now", runs, config, cap_mib, scratch)
    folder = session_of(scratch / "now", float("inf"))
    return Session() if folder is None else _read(folder, scratch)


def code_diff(then: Session, now: Session) -> dict[str, Any]:
    """What differs in the code: `files` path -> unified diff, `repositories` label -> what differs of the checkout.

    `patches` label -> unified diff of the uncommitted changes, for checkouts that no backup has, as this package's.
    `troubles`: backups that could not be read.
    """
    files, troubles, backed_up = {}, list[str](), bool(then.files and now.files)
    if backed_up:
        paths = sorted({*then.files, *now.files})
        differing = [path for path in paths if then.files.get(path) != now.files.get(path)]
        before, after = _contents(then, differing, troubles), _contents(now, differing, troubles)
        files = {path: _unified(path, before.get(path), after.get(path), then, now) for path in differing}
    labels = [one for one in {**then.patches, **now.patches} if not (backed_up and one.startswith(_WORKSPACE))]
    patches = {label: _patch_diff(label, then.patches.get(label, ""), now.patches.get(label, "")) for label in labels}
    patches = {label: text for label, text in patches.items() if text}
    return {"files": files, "repositories": _repositories(then, now), "patches": patches, "troubles": troubles}


def environment_diff(then: Session, now: Session) -> dict[str, list[Any]]:
    """Package or fact of the machine -> [then, now]."""
    before, after = _packages(then.lock), _packages(now.lock)
    pairs = {key: [then.facts.get(key), now.facts.get(key)] for key in _HARDWARE}
    pairs |= {name: [before.get(name), after.get(name)] for name in sorted({**before, **after}, key=str.lower)}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _read(folder: Path, workspaces: Path) -> Session:
    facts, manifest = read_facts(folder) or {}, read_manifest(folder)
    archive = workspaces / f"{facts.get('workspace')}.tar.gz"
    return Session(
        facts=facts,
        files={str(file["path"]): str(file["sha256"]) for file in manifest.get("files", [])},
        archive=archive if archive.is_file() else None,
        lock=(folder / LOCK).read_text() if (folder / LOCK).is_file() else "",
        patches={path.stem: path.read_text(errors="replace") for path in sorted(folder.glob("*.patch"))},
    )


def _contents(session: Session, paths: list[str], troubles: list[str]) -> dict[str, bytes]:
    if session.archive is None or not paths:
        return {}
    wanted = {path: session.files[path] for path in paths if path in session.files}
    found, trouble = read_backup(session.archive, wanted, _MOST_BYTES)
    troubles += [trouble] if trouble is not None else []
    return {path: file.content for path, file in found.items()}


def _unified(path: str, before: bytes | None, after: bytes | None, then: Session, now: Session) -> str:
    """A file's unified diff; one line where it is no text, too large, or the backup is gone."""
    kinds = [(path in one.files, content) for one, content in ((then, before), (now, after))]
    if any(known and (content is None or b"\0" in content) for known, content in kinds):
        return f"{'changed' if all(known for known, _ in kinds) else 'added' if kinds[1][0] else 'removed'}: {path}\n"
    old, new = ((content or b"").decode(errors="replace").splitlines(keepends=True) for content in (before, after))
    old_name, new_name = (
        f"{side}/{path}" if known else "/dev/null" for side, (known, _) in zip("ab", kinds, strict=True)
    )
    lines = difflib.unified_diff(old, new, old_name, new_name)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _patch_diff(label: str, before: str, after: str) -> str:
    """The unified diff of two patches, empty if they are equal."""
    one, other = before.splitlines(), after.splitlines()
    lines = difflib.unified_diff(one, other, f"a/{label}.patch", f"b/{label}.patch", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _repositories(then: Session, now: Session) -> dict[str, list[str]]:
    before = {one["label"]: one for one in then.facts.get("repositories") or []}
    after = {one["label"]: one for one in now.facts.get("repositories") or []}
    found = {}
    for label in sorted({*before, *after}):
        if label not in before or label not in after:
            found[label] = [f"{_at(before.get(label))} -> {_at(after.get(label))}"]
            continue
        one, other = before[label], after[label]
        lines = [
            f"{key} {one.get(key)} -> {other.get(key)}"
            for key in ("commit", "branch", "dirty")
            if one.get(key) != other.get(key)
        ]
        if then.patches.get(label, "") != now.patches.get(label, ""):
            lines.append("its uncommitted changes differ")
        if lines:
            found[label] = lines
    return found


def _at(repository: Mapping[str, Any] | None) -> str:
    return "no checkout" if repository is None else f"a checkout at {repository.get('commit')}"


def _packages(lock: str) -> dict[str, str]:
    lines = (line.replace(" @ ", "==", 1).partition("==") for line in lock.splitlines() if not line.startswith("#"))
    return {name: version for name, _, version in lines}

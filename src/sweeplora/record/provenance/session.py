"""A session, the context a command ran in: git states, packages, hardware and workspace backup, stored with its runs.

A continued sweep gets a new session if any of that changed; a trial belongs to the last session that began before it.
Sessions are stored in the run folder, so that the record can be replayed after all of this has changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import re
import sys
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.record.provenance import git
from sweeplora.record.provenance.environment import LOCK, installed, lock, machine, packages
from sweeplora.record.provenance.exclusions import Exclusions, Rules, rules_of
from sweeplora.record.provenance.secret import holds_secret, without_credentials
from sweeplora.record.provenance.session_files import FACTS, MANIFEST, read_facts
from sweeplora.record.provenance.workspace import FOLDER as WORKSPACES
from sweeplora.record.provenance.workspace import Backup, back_up
from sweeplora.rundir.files import sealed, write_json, write_whole
from sweeplora.rundir.folder import SINGLE

FOLDER = "provenance"
PROMPTS = "prompts"
"""The stem of the copy of the previews' prompts."""

_SEARCHED = "cache/searched.json"
_PACKAGES = ("sweeplora", "lycoris")
_NO_LETTERS = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_LABEL = 100
_MOST_PROMPTS = 1 << 20
_NO_RULES = Rules(outputs=(), inputs=(), cap_bytes=0)
_SLACK_SECONDS = 5.0
"""The mirror's process starts a moment after the command, possibly after its first trial."""


class Extras(NamedTuple):
    """What else a session holds: what went wrong, and the file of previews' prompts (its path and content)."""

    troubles: Sequence[str] = ()
    prompts: tuple[str, bytes] | None = None


_NO_EXTRAS = Extras()


def record_session(
    beside: Path, runs: Path, config: Mapping[str, Any], cap_mib: float | None, backups: Path | None = None
) -> None:
    """Back up the workspace, unless `cap_mib` is None, and describe this session, before the user edits further.

    The backup goes to `backups`, by default the folder that `runs` has for them.
    A failure of either does not stop the record: it is reported in the log and in the session.
    """
    troubles: list[str] = []
    try:
        workspace = Path.cwd()
        rules = rules_of(config, runs, cap_mib or 0.0)
        into, memo = backups or runs / WORKSPACES, runs / _SEARCHED
        backup = None if cap_mib is None else _backup(workspace, rules, (into, memo), troubles)
        write_session(beside, workspace, backup, rules, Extras(troubles, prompts_of(config)))
    except Exception as error:  # whatever the folder contains, the runs are still recorded
        troubles.append(f"where the command ran from is not recorded: {_line(error)}")
    for trouble in troubles:
        print(trouble, file=sys.stderr, flush=True)


def _backup(workspace: Path, rules: Rules, places: tuple[Path, Path], troubles: list[str]) -> Backup | None:
    try:
        return back_up(workspace, rules, *places)
    except Exception as error:  # as above: everything else is still written
        troubles.append(f"the workspace is not backed up: {_line(error)}")
        return None


def _line(error: Exception) -> str:
    return without_credentials(" ".join(f"{type(error).__name__}: {error}".split()))[:500]


def prompts_of(config: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """The name and content of the file of previews' prompts that a configuration names; None without one.

    Kept apart from the workspace's backup, since the file may be anywhere.
    """
    named = (config.get("sample") or {}).get("prompts")
    if not isinstance(named, str) or not Path(named).is_file() or Path(named).stat().st_size > _MOST_PROMPTS:
        return None
    content = Path(named).read_bytes()
    return None if holds_secret(content, Path(named).name) else (named, content)


def write_session(
    beside: Path, workspace: Path, backup: Backup | None, rules: Rules = _NO_RULES, extras: Extras = _NO_EXTRAS
) -> Path:
    """Describe this session below `<beside>/provenance/`, or reuse the newest if it is identical. Returns its folder.

    One before the newest is not reused: a trial belongs to the last session that began before it.
    """
    found = installed()
    files: dict[str, bytes] = {"packages.txt": packages(found).encode(), LOCK: lock(found).encode()}
    repositories = []
    for label, root in _repositories(workspace).items():
        repository, patch = git.state(root, Exclusions(rules, root).why_out)
        repositories.append({"label": label, **asdict(repository)})
        if patch:
            files[f"{label}.patch"] = patch
    backed_up = backup.name if backup is not None else ""
    if backup is not None:
        files[MANIFEST] = json.dumps(backup.manifest, indent=1).encode()
    named, prompts = extras.prompts or (None, b"")
    if named is not None:
        files[PROMPTS + Path(named).suffix] = prompts
    where = {"workspace": backed_up, "prompts": named, "repositories": repositories}
    facts = {**where, **machine(workspace), "troubles": list(extras.troubles)}
    digest = _digest(facts, files)
    known = _sessions(beside)
    if known and digest in known[-1][0].name.split("-"):
        return known[-1][0]
    now = time.time()
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{digest}"
    folder, number = beside / FOLDER / name, 2
    while any(folder == one for one, _ in known):  # the third change within a second
        folder, number = folder.with_name(f"{name}-{number}"), number + 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content)
    write_json(folder / FACTS, sealed({"time": round(now, 3), **facts}))
    return folder


def package_differences(session: Path) -> list[str]:
    """How the checkouts of this package and of LyCORIS that a session had are otherwise here, one line each."""
    recorded = {str(one.get("label")): one for one in (read_facts(session) or {}).get("repositories") or []}
    lines = []
    for module in _PACKAGES:
        if module not in recorded:
            continue
        patch = session / f"{module}.patch"
        then = (recorded[module].get("commit"), patch.read_bytes() if patch.is_file() else b"")
        folder = _folder_of(module)
        root = None if folder is None else git.repository_of(folder)
        if root is None:
            here = "it is no checkout"
        else:
            repository, changes = git.state(root, Exclusions(_NO_RULES, root).why_out)
            if (repository.commit, changes) == then:
                continue
            known = repository.commit is not None and not repository.trouble
            here = _at_commit(repository.commit, changes, "uncommitted changes") if known else "git does not say"
        changed = f"uncommitted changes, {patch.name} beside the lock"
        lines.append(f"{module}'s code: the run had {_at_commit(*then, changed)}; here {here}")
    return lines


def _at_commit(commit: str | None, patch: bytes, changes: str) -> str:
    return f"commit {str(commit)[:12]}{f' with {changes}' if patch else ''}"


def owner_of(run: Path) -> Path:
    """The folder that holds the sessions of a run: its own, wherever it is now, or its study's."""
    return run if run.parent.name == SINGLE or (run / FOLDER).is_dir() else run.parent


def session_of(beside: Path, started: float) -> Path | None:
    """The last session that began before `started` (seconds since the epoch), else the first."""
    found = [(facts, folder) for folder, facts in _sessions(beside) if isinstance(facts.get("time"), int | float)]
    before = [folder for facts, folder in found if facts["time"] <= started + _SLACK_SECONDS]
    return before[-1] if before else next((folder for _, folder in found), None)


def backups_of(beside: Path) -> list[str]:
    """Names of the workspace backups that the sessions of a study or single run refer to."""
    found = [facts.get("workspace") for _, facts in _sessions(beside)]
    return list(dict.fromkeys(name for name in found if isinstance(name, str) and name))


def _sessions(beside: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The sessions, oldest first, each folder with its facts; one whose facts are damaged is passed over."""
    found = [(path.parent, read_facts(path.parent)) for path in sorted((beside / FOLDER).glob(f"*/{FACTS}"))]
    read = [(folder, facts) for folder, facts in found if facts]
    return sorted(read, key=lambda one: float(one[1].get("time") or 0.0))  # a name has whole seconds


def tags_of(folder: Path) -> dict[str, str]:
    """A session as MLflow's tags and ours; its first repository is the most important one."""
    facts = read_facts(folder) or {}
    if not {"user", "host", "workspace", "repositories"} <= set(facts):
        return {"sweeplora.session": folder.name}
    tags = {
        "mlflow.user": facts["user"],
        "mlflow.source.type": "LOCAL",
        "sweeplora.host": facts["host"],
        "sweeplora.session": folder.name,
    }
    if facts["workspace"]:
        tags["sweeplora.workspace"] = facts["workspace"]
    if facts.get("troubles"):
        tags["sweeplora.provenance.trouble"] = "; ".join(facts["troubles"])
    if facts["repositories"]:
        tags |= _git_tags(facts["repositories"][0])
    return {key: text for key, text in tags.items() if text}


def _git_tags(repository: Mapping[str, Any]) -> dict[str, str]:
    """MLflow's tags for a checkout; a checkout of unknown state is neither clean nor dirty."""
    dirty = repository["dirty"]
    branch = repository["branch"] or ("detached" if repository["commit"] and dirty is not None else "")
    return {
        "mlflow.source.git.commit": repository["commit"] or "",
        "mlflow.source.git.dirty": "unknown" if dirty is None else str(dirty).lower(),
        "mlflow.source.git.branch": branch,
        "mlflow.source.git.repoURL": repository["remotes"].get("origin", ""),
        "sweeplora.git.trouble": repository.get("trouble", ""),
    }


def _digest(facts: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    return digest.hexdigest()[:8]


def _repositories(workspace: Path) -> dict[str, Path]:
    """Relevant checkouts by label, each once: the workspace's with nested ones, this package's, LyCORIS'."""
    found: dict[str, Path] = {}
    for label, module in (("workspace", None), *((name, name) for name in _PACKAGES)):
        folder = workspace if module is None else _folder_of(module)
        root = git.repository_of(folder) if folder is not None else None
        is_environment = root is not None and folder is not None and "site-packages" in folder.parts
        if root is None or root in found.values() or is_environment:
            continue
        found[label] = root
        for inside in git.nested(root) if module is None else []:
            found[_label(inside.relative_to(root), found)] = inside
    return found


def _label(below: Path, taken: Container[str]) -> str:
    """The label of a checkout inside the workspace's: no other has it, any file system and server takes it."""
    plain = f"workspace-{_NO_LETTERS.sub('-', below.as_posix())}"[:_LONGEST_LABEL]
    numbered = (f"{plain}-{number}" for number in itertools.count(2))
    return next(label for label in itertools.chain([plain], numbered) if label not in taken)


def _folder_of(module: str) -> Path | None:
    specification = importlib.util.find_spec(module)
    origin = specification.origin if specification is not None else None
    return Path(origin).parent if origin else None

"""Restores a run: the workspace it was started in, its record, its inputs, and what is missing of them."""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweeplora.errors import UserError
from sweeplora.record.provenance.environment import LOCK, installed, lock
from sweeplora.record.provenance.session import FOLDER as SESSIONS
from sweeplora.record.provenance.session import PROMPTS, owner_of, package_differences, session_of
from sweeplora.record.provenance.session_files import read_facts, read_manifest
from sweeplora.record.provenance.workspace import FOLDER as WORKSPACES
from sweeplora.record.provenance.workspace import GONE
from sweeplora.record.restore.checkout import CheckedOut, check_out, recorded_checkouts
from sweeplora.record.restore.data import Compare, restore_data
from sweeplora.record.restore.inputs import ModelDigest, restore_models, restore_prompts
from sweeplora.record.restore.overlay import overlay, take_away
from sweeplora.record.restore.places import Places
from sweeplora.record.restore.search import ContentSearch
from sweeplora.record.restore.target import expect_empty, made
from sweeplora.rundir.files import read_json, write_json
from sweeplora.rundir.folder import SINGLE, RunDir
from sweeplora.rundir.plain_record import read_plain_trial
from sweeplora.rundir.resolved import is_resolved

RESTORED = "restored.json"
"""In a restored run's folder: where its inputs are now, and what is missing."""

_RECORD = (
    *("config.yaml", "trial.json", "result.json", "dataset.json", "naming.json", "metrics.jsonl", "scores.jsonl"),
    "log.txt",
)


@dataclass(frozen=True)
class Helpers:
    """What other parts of the package know: its `assets`, a base model's content hash, how a folder of images reads."""

    assets: Path
    digest_of: ModelDigest
    compare: Compare


@dataclass(frozen=True)
class Restored:
    """A restored run: its `workspace` to work in, its `folder` there, how each checkout came back, what is missing.

    `notes`: what else the user should know of it, one line each.
    """

    workspace: Path
    folder: Path
    checkouts: tuple[CheckedOut, ...]
    written: tuple[str, ...]
    missing: tuple[Mapping[str, Any], ...]
    environment: tuple[str, ...]
    lock: Path | None
    notes: tuple[str, ...]


def restore(source: RunDir, into: Path, look_in: Sequence[Path], helpers: Helpers) -> Restored:
    """Restore the run in the folder `source` (one that trained, or one fetched from a server) into an empty folder.

    Raises UserError if the folder is not empty or cannot be written, or the run has no configuration. A failed attempt
    leaves nothing.
    """
    expect_empty(into)
    config = _config(source)
    with made(into):
        return _restored(_record(source, config), into, look_in, helpers)


@dataclass(frozen=True)
class _Record:
    """What is recorded of a run: its folder, the `owner` of its sessions, its own `session`, and the backup's file."""

    source: RunDir
    owner: Path
    config: Mapping[str, Any]
    trial: Mapping[str, Any]
    session: Path | None
    facts: Mapping[str, Any]
    archive: Path | None


def _record(source: RunDir, config: Mapping[str, Any]) -> _Record:
    owner = owner_of(source.path)
    trial = read_plain_trial(source.trial) or {}
    session = session_of(owner, _began(trial))
    facts = (read_facts(session) if session is not None else None) or {}
    name = facts.get("workspace")
    archive = source.path.parent.parent / WORKSPACES / f"{name}.tar.gz" if name else None
    return _Record(source, owner, config, trial, session, facts, archive)


def _restored(record: _Record, into: Path, look_in: Sequence[Path], helpers: Helpers) -> Restored:
    facts, session = record.facts, record.session
    checkouts = [] if session is None else recorded_checkouts(facts, session)
    came_back = [check_out(one, into / one.place) for one in checkouts]
    workspace = into / _place_in(facts, checkouts)
    workspace.mkdir(parents=True, exist_ok=True)
    search = ContentSearch(look_in)
    manifest = {} if session is None else read_manifest(session)
    is_kept = record.archive is not None and record.archive.is_file()
    overlaid = overlay(manifest, record.archive if is_kept else None, workspace, search)
    cloned = [one.recorded for one in came_back if one.source is not None]
    gone = [path for one in cloned for path in take_away(manifest, one, into / one.place)]
    folder = _copy_record(record, workspace / _runs_place(record.config, facts), overlaid.trouble is None)
    places = Places(Path(facts.get("folder") or workspace), workspace, helpers.assets, search)
    places.missing += overlaid.missing
    if record.archive is not None:
        places.notes += (
            [] if is_kept else [f"the backup {record.archive.name} is gone; what there is comes from the checkout"]
        )
    places.notes += [] if overlaid.trouble is None else [f"{overlaid.trouble}; the rest comes from the checkout"]
    _restore_inputs(record, places, helpers)
    settled = places.settled | _compared(manifest, workspace) | set(gone)
    places.notes += [line for one in came_back for line in _unrecorded(one, into, settled)]
    write_json(folder / RESTORED, {"paths": places.paths, "missing": places.missing, "from": str(facts.get("folder"))})
    return Restored(
        workspace=workspace,
        folder=folder,
        checkouts=tuple(came_back),
        written=overlaid.written,
        missing=tuple(places.missing),
        environment=_environment(session),
        lock=_lock(folder, session),
        notes=tuple(places.notes),
    )


def _restore_inputs(record: _Record, places: Places, helpers: Helpers) -> None:
    config, session = record.config, record.session
    restore_data(config, read_json(record.source.path / "dataset.json") or {}, places, helpers.compare)
    prompts = None if session is None else next(iter(sorted(session.glob(f"{PROMPTS}.*"))), session / PROMPTS)
    restore_prompts(record.facts.get("prompts"), prompts, places)
    restore_models(config, record.trial.get("contents") or {}, places, helpers.digest_of)


def _lock(folder: Path, session: Path | None) -> Path | None:
    """The lock of the run's own session, in its restored record."""
    found = None if session is None else owner_of(folder) / SESSIONS / session.name / LOCK
    return found if found is not None and found.is_file() else None


def _compared(manifest: Mapping[str, Any], workspace: Path) -> set[Path]:
    """Files that the backup made as recorded, or that are named as missing."""
    told = [one for one in manifest.get("left_out", []) if "sha256" in one or "link" in one or one["why"] == GONE]
    return {workspace / str(one["path"]) for one in [*manifest.get("files", []), *told]}


def _unrecorded(checkout: CheckedOut, into: Path, settled: Container[Path]) -> Iterator[str]:
    """A line on each uncommitted change that is neither in the patch nor elsewhere in the record."""
    if checkout.source is None:
        return
    for named in checkout.recorded.left_out:
        name, _, why = named.rpartition(": ")
        path = into / checkout.recorded.place / name
        if path not in settled:
            yield f"{path}: was changed or removed and not committed, which is not recorded ({why}); as at the commit"


def _environment(session: Path | None) -> tuple[str, ...]:
    """What of a session's packages is otherwise here; the code that trains comes first."""
    if session is None:
        return tuple(environment_differences(None))
    return (*package_differences(session), *environment_differences(session / LOCK))


def environment_differences(recorded: Path | None) -> list[str]:
    """What of a session's lock is otherwise here, one line each: `torch==2.13.0, here 2.12.0`."""
    if recorded is None or not recorded.is_file():
        return ["the environment was not recorded"]
    then, now = _pinned(recorded.read_text()), _pinned(lock(installed()))
    lines = []
    for name in sorted({**then, **now}, key=str.lower):
        if then.get(name) != now.get(name):
            before = then.get(name)
            lines.append(f"{name} {before or 'was not installed'}, here {now.get(name) or 'not installed'}")
    return lines


def _pinned(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        if line.startswith("# ") and line.split()[1] in ("Python", "torch,", "torch", "GPU"):
            found[line.split()[1]] = line.removeprefix(f"# {line.split()[1]}").strip()
        elif not line.startswith("#"):
            name, _, version = line.replace(" @ ", "==").partition("==")
            found[name] = version
    return found


def _config(source: RunDir) -> dict[str, Any]:
    try:
        config = yaml.safe_load(source.config.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError("RUN", source.path, f"its config.yaml cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or not is_resolved(config):
        raise UserError("RUN", source.path, "its config.yaml is not a resolved configuration")
    return config


def _began(trial: Mapping[str, Any]) -> float:
    attempts = trial.get("attempts") or []
    began = attempts[0].get("started") if attempts else None
    return float("inf") if began is None else float(began)


def _place_in(facts: Mapping[str, Any], checkouts: Sequence[Any]) -> Path:
    """Where in its checkout the command ran."""
    folder = Path(facts.get("folder") or ".")
    outer = next((Path(one.root) for one in checkouts if one.place == "."), None)
    inside = outer is not None and folder.is_relative_to(outer)
    return folder.relative_to(outer) if inside and outer is not None else Path()


def _runs_place(config: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
    """The folder of all runs below the restored workspace: where it was, if it was inside."""
    runs, then = Path(str(config.get("runs") or "runs")), facts.get("folder")
    if runs.is_absolute():
        inside = then is not None and runs.is_relative_to(then)
        return runs.relative_to(str(then)) if inside else Path("runs")
    return Path("runs") if ".." in runs.parts else runs


def _copy_record(record: _Record, runs: Path, with_backup: bool) -> Path:
    """Copy what is recorded of a run, except its weights and pictures, to the same place below another runs folder."""
    source, owner = record.source, record.owner
    below = Path(SINGLE, source.path.name) if owner == source.path else Path(owner.name, source.path.name)
    folder = runs / below
    folder.mkdir(parents=True, exist_ok=True)
    for name in _RECORD:
        if (source.path / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source.path / name, folder / name)
    if owner != source.path:
        for name in ("study.json", "config.yaml"):
            if (owner / name).is_file():
                shutil.copyfile(owner / name, folder.parent / name)
    if (owner / SESSIONS).is_dir():
        shutil.copytree(owner / SESSIONS, owner_of(folder) / SESSIONS, dirs_exist_ok=True)
    if with_backup and record.archive is not None and record.archive.is_file():
        (runs / WORKSPACES).mkdir(exist_ok=True)
        shutil.copyfile(record.archive, runs / WORKSPACES / record.archive.name)
    return folder

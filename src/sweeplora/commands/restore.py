"""Bring a run's workspace, configuration and inputs back, from its folder or from the tracking server alone."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.commands import Parser
from sweeplora.commands.place import runs_of
from sweeplora.commands.words import STORE, expect_keys, is_assignment
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

if TYPE_CHECKING:
    from sweeplora.record.restore.inputs import ModelDigest
    from sweeplora.record.restore.restore import Restored
    from sweeplora.record.tracking import Tracking

_EXAMPLE = "python -m sweeplora restore rank_alpha/3 again --look-in /my/pictures tracking.uri=http://host:5000"
_MISSING = 1
_SHOWN = 10
_USUAL = "runs"


def main(words: list[str]) -> int:
    """Restore into an empty folder; returns 0, or 1 if something that the run needs is missing."""
    from sweeplora.commands.recorded_data import compare
    from sweeplora.record.restore.restore import Helpers, restore
    from sweeplora.record.restore.target import expect_empty
    from sweeplora.rundir.folder import RunDir

    parser = Parser("restore", __doc__ or "", _EXAMPLE)
    parser.add_argument("--look-in", action="append", type=_folder, metavar="DIR", help="where images or models may be")
    parser.add_argument("--json", action="store_true", help="what came back and what is missing, as JSON")
    parser.add_argument("run", metavar="RUN", help="study/number, a study, a folder, an MLflow id, a weights file")
    parser.add_argument("words", nargs="*", metavar="WORD", help="DIR, an empty folder; runs=FOLDER; tracking.uri=…")
    asked = parser.parse(words)
    runs, rest = runs_of([asked.run, *asked.words])
    tracking = [word for word in rest[1:] if is_assignment(word)]
    names = [rest[0], *(word for word in rest[1:] if word not in tracking)] if rest else []
    expect_keys("restore", tracking, STORE)
    if not 0 < len(names) < 3 or not names[-1].strip():
        parser.error("give a run and a folder")
    into = Path(os.path.abspath(names[1] if len(names) == 2 else f"restored-{Path(names[0]).name}"))
    expect_empty(into)
    with tempfile.TemporaryDirectory(prefix="sweeplora-") as temporary:
        folder = _source(runs, names[0], tracking, Path(temporary))
        helpers = Helpers(_assets(), _model_digest(folder), compare)
        restored = restore(RunDir(folder), into, asked.look_in or [], helpers)
    print(_as_json(restored) if asked.json else "\n".join(_told(restored)))
    return _MISSING if restored.missing else 0


def _source(runs: Path, name: str, tracking: Sequence[str], temporary: Path) -> Path:
    """The run's folder: below `runs`, else made from the tracking server."""
    from sweeplora.report.find import find_run

    unknown = None
    if not tracking:
        try:
            return find_run(runs, name).path
        except UserError as error:
            unknown = error
    where = _tracking(runs, tracking)
    if unknown is not None and not _has_record(where):
        raise unknown
    from sweeplora.record.location import have_home

    have_home()
    from sweeplora.record.restore.stored import StoredRecord

    record = StoredRecord(where)
    signature = _signature(Path(name)) if Path(name).is_file() else None
    return record.download(record.find(name, signature), temporary / "runs")


def _tracking(runs: Path, words: Sequence[str]) -> Tracking:
    from sweeplora.config.compose import compose
    from sweeplora.record.location import tracking_of
    from sweeplora.rundir.databases import sqlite_path

    config = compose([f"runs='{runs}'", *words]).config
    database = sqlite_path(config["tracking"]["uri"])
    if database is not None and not any(word.startswith("tracking.artifacts=") for word in words):
        config["tracking"]["artifacts"] = str(database.absolute().parent / "artifacts")
    return tracking_of(config, runs)


def _has_record(tracking: Tracking) -> bool:
    from sweeplora.rundir.databases import sqlite_path

    database = sqlite_path(tracking.uri)
    return database is None or database.is_file()


def _signature(file: Path) -> str:
    from sweeplora.report.origin import SIGNATURE
    from sweeplora.tensors.safetensors_header import read_metadata
    from sweeplora.tensors.stored import UnreadableFile

    try:
        signature = read_metadata(file)[0].get(SIGNATURE)
    except UnreadableFile:
        signature = None
    if signature is None:
        raise UserError("RUN", file, "this file names no run; `python -m sweeplora which` shows what it says itself")
    return signature


def _assets() -> Path:
    from sweeplora.config.compose import asset

    return asset("")


def _model_digest(folder: Path) -> ModelDigest:
    """What tells whether a model at some path is the run's base model: its content hash, as the signature has it."""
    import yaml

    from sweeplora.check.identity import model_digest
    from sweeplora.check.parts import built
    from sweeplora.content import ContentHashes
    from sweeplora.experiment import Group
    from sweeplora.rundir.resolved import is_resolved

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError):  # the restoring says so
        config = None
    model = (config.get("model") or {}) if is_resolved(config) else {}
    hashes = ContentHashes(Path(tempfile.gettempdir(), "sweeplora-no-memo"))

    def digest_of(placed: Mapping[str, Any], path: Path, vae: Path | None) -> str | None:
        own = {} if vae is None else {"vae": str(vae)}
        try:
            return model_digest(built(Group({**model, **placed, **own, "path": str(path)})).facts(), hashes)
        except (UserError, OSError):
            return None

    return digest_of


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise UserError("--look-in", text, "there is no such folder")
    return Path(text).absolute()


def _told(restored: Restored) -> list[str]:
    from sweeplora.report.words import near

    lines = []
    for one in restored.checkouts:
        commit = (one.recorded.commit or "")[:12]
        if one.source is not None:
            branch = f" on {one.recorded.branch}" if one.recorded.branch else ""
            lines.append(f"{one.recorded.label}: commit {commit}{branch}, cloned from {one.source}")
        lines += one.notes
    if restored.written:
        lines.append(f"from the backup: {_some(restored.written)}")
    lines += restored.notes[:_SHOWN]
    if len(restored.notes) > _SHOWN:
        lines.append(f"{len(restored.notes) - _SHOWN} more such lines: see --json")
    if not restored.checkouts and not restored.written:
        lines.append("the workspace was not backed up: only the run's record came back")
    missing = sorted(restored.missing, key=lambda one: "key" not in one)  # the model before hundreds of images
    lines += [f"missing: {_named(one)}" for one in missing[:_SHOWN]]
    if len(restored.missing) > _SHOWN:
        lines.append(f"missing: {len(restored.missing) - _SHOWN} more, all in {near(restored.folder)}/restored.json")
    if restored.missing:
        lines.append("give --look-in DIR to look for what is missing by its content")
    if restored.lock is not None:
        lines.append(f"environment: {near(restored.lock)}")
    lines += [f"differs here: {line}" for line in restored.environment[:_SHOWN]]
    if len(restored.environment) > _SHOWN:
        lines.append(f"differs here: {len(restored.environment) - _SHOWN} more packages")
    lines.append(f"workspace: {near(restored.workspace)}")
    lines.append(f"train it again there: {_again(restored)}")
    return lines


def _again(restored: Restored) -> str:
    """The command line that trains a restored run again."""
    from sweeplora.report.words import near

    folder = restored.folder
    place = str(folder.parent.parent.relative_to(restored.workspace))
    words = ["rerun", f"{folder.parent.name}/{folder.name}", *([] if place == _USUAL else [f"runs={place}"])]
    return f"cd {shlex.quote(str(near(restored.workspace)))} && python -m sweeplora {shlex.join(words)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _named(one: Mapping[str, Any]) -> str:
    digest = one.get("sha256") or one.get("content")
    return f"{one['path']}{f' (sha256 {digest})' if digest else ''}: {one['why']}"


def _as_json(restored: Restored) -> str:
    checkouts = [
        {"label": one.recorded.label, "commit": one.recorded.commit, "source": one.source, "notes": one.notes}
        for one in restored.checkouts
    ]
    return json_text(
        {
            "workspace": str(restored.workspace),
            "run": str(restored.folder),
            "checkouts": checkouts,
            "from_backup": restored.written,
            "missing": restored.missing,
            "notes": restored.notes,
            "environment": restored.environment,
            "lock": None if restored.lock is None else str(restored.lock),
        },
        indent=1,
    )

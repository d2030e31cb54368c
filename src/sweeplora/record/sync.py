"""Brings the record up to date with every run folder, at any time after the runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from sweeplora.errors import UserError
from sweeplora.record.location import follow_artifacts, have_home, tracking_of
from sweeplora.record.mirror import Mirror
from sweeplora.record.run_folders import is_held_by_anyone
from sweeplora.record.store.subject import one_line
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.databases import sqlite_path
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.places import single_folders, study_folders


def sync(runs: Path, changed: Mapping[str, Any], only: Sequence[Path] = ()) -> list[str]:
    """Bring the store up to date with the studies and single runs below `runs`; returns one line per failure.

    Each is sent where its own configuration says, except for the `tracking` keys in `changed`. A folder with
    tracking off, or with another mirror at work on it, is skipped. `only`: folders of studies or single runs to send,
    all if there are none.
    """
    have_home()
    folders = only or sorted([*study_folders(runs), *single_folders(runs)])
    databases = _Databases()
    return [line for folder in folders for line in _sync_one(folder, runs, changed, databases)]


class _Databases:
    """The ids of the runs in each SQLite database, read once: where all is sent already, MLflow is not imported."""

    def __init__(self) -> None:
        self._runs: dict[Path, frozenset[str]] = {}
        self._experiments: dict[Path, frozenset[str]] = {}
        self._faults: dict[Path, str | None] = {}

    def damage(self, tracking: Tracking) -> list[str] | None:
        """A line on a database whose pages do not fit together, none from the second time on; None if it is whole."""
        path = sqlite_path(tracking.uri)
        if path is None or not path.is_file():
            return None
        if path in self._faults:
            return None if self._faults[path] is None else []
        fault = self._faults[path] = _fault_in(path)
        mend = "move it away and sync again: everything is recorded anew from the run folders"
        return None if fault is None else [f"{path}: this database is damaged ({fault}); {mend}"]

    def runs_in(self, tracking: Tracking) -> frozenset[str] | None:
        """The ids of all runs; None for a server, a database that cannot be read and a deleted experiment."""
        path = sqlite_path(tracking.uri)
        if path is None or not path.is_file():
            return None
        if path not in self._runs:
            try:
                follow_artifacts(path, tracking.experiment, Path(tracking.artifacts))
                with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
                    self._runs[path] = frozenset(row[0] for row in connection.execute("select run_uuid from runs"))
                    active = "select name from experiments where lifecycle_stage = 'active'"
                    self._experiments[path] = frozenset(row[0] for row in connection.execute(active))
            except (OSError, sqlite3.Error, UnicodeDecodeError):
                return None
        return self._runs[path] if tracking.experiment in self._experiments[path] else None


def _fault_in(database: Path) -> str | None:
    """What SQLite says of a database whose pages do not fit together; None if they do, or it is locked."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
            said = str(connection.execute("pragma quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError:
        return None  # whoever writes to it says why
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's sentence may quote what is no text any more
        return one_line(error)
    return None if said == "ok" else " ".join(said.split())[:200]


def _sync_one(folder: Path, runs: Path, changed: Mapping[str, Any], databases: _Databases) -> list[str]:
    try:
        tracking = _tracking_of(folder, runs, changed)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        return [f"{folder}: its config.yaml does not say where the record goes: {one_line(error)}"]
    if tracking is None or not tracking.enabled or is_held_by_anyone(folder / "mirror.lock"):
        return []
    damage = databases.damage(tracking)
    if damage is not None:
        return damage
    driven = is_held_by_anyone(folder / "driver.lock") or is_held_by_anyone(RunDir(folder).lock)
    there = databases.runs_in(tracking)
    if there is not None and not driven:
        seen = Mirror(folder, tracking, revive=False)
        if seen.is_complete(there, abandoned=True):
            return seen.folders.damaged
    mirror = Mirror(folder, tracking, revive=False)
    try:
        with hold(folder / "mirror.lock"):
            mirror.turn(abandoned=not driven)
    except Exception as error:  # a fault in one folder does not keep the others from being brought up to date
        return [f"{folder}: {one_line(error)}"]
    return mirror.folders.damaged


def _tracking_of(path: Path, runs: Path, changed: Mapping[str, Any]) -> Tracking | None:
    """The tracking settings of a folder's configuration, with some keys changed; None if it has none yet."""
    try:
        config = yaml.safe_load(RunDir(path).config.read_text())
    except FileNotFoundError:
        return None
    return tracking_of(config, runs, changed)

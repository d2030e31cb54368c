"""Where the record of a runs folder is, even after the folder was moved."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from sweeplora.record.tracking import Tracking
from sweeplora.rundir.databases import sqlite_path, sqlite_uri

_PATHS = ("artifacts", "tensorboard")
_SECONDS = 60.0


def have_home() -> None:
    """Set a home folder if the user has none, as in some containers: MLflow cannot be imported without one."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()


def tracking_of(config: Mapping[str, Any], runs: Path, changed: Mapping[str, Any] = MappingProxyType({})) -> Tracking:
    """The tracking settings of a resolved config whose runs folder is now `runs`, with some keys changed."""
    node = follow_runs(config["tracking"], Path(config.get("runs", runs)), runs)
    return Tracking(**{key: value for key, value in {**node, **changed}.items() if key != "_target_"})


def follow_runs(tracking: Mapping[str, Any], then: Path, now: Path) -> dict[str, Any]:
    """Tracking settings made for the runs folder `then`, adapted to its current place `now`."""
    moved = dict(tracking)
    if then == now:
        return moved
    for key in _PATHS:
        if tracking.get(key):
            moved[key] = str(_moved(Path(tracking[key]), then, now))
    database = sqlite_path(tracking["uri"])
    if database is not None and database.is_relative_to(then):
        moved["uri"] = f"sqlite:///{_moved(database, then, now)}"
    return moved


def _moved(path: Path, then: Path, now: Path) -> Path:
    return now / path.relative_to(then) if path.is_relative_to(then) else path


def follow_artifacts(database: Path, experiment: str, artifacts: Path) -> None:
    """Point MLflow's database at the artifacts below `artifacts` after its folder was moved or copied.

    MLflow stores absolute paths. A run's path is changed only if its files are below `artifacts` or missing, so
    that runs from an earlier setting of `tracking.artifacts` stay readable. Raises OSError if the database is locked.
    """
    if not database.is_file():
        return
    here = artifacts.resolve().as_uri()
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True, timeout=_SECONDS)) as connection:
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
            if {"experiments", "runs"} <= tables:
                _move_experiments(connection, experiment, here)
                _move_runs(connection, here)
                connection.commit()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's sentence may quote what is no text any more
        raise OSError(f"{database}: {error}") from error


def _move_experiments(connection: sqlite3.Connection, name: str, here: str) -> None:
    rows = connection.execute("select experiment_id, artifact_location from experiments where name = ?", (name,))
    for identifier, location in rows.fetchall():
        if location != here and _is_local(location):
            change = "update experiments set artifact_location = ? where experiment_id = ?"
            connection.execute(change, (here, identifier))


def _move_runs(connection: sqlite3.Connection, here: str) -> None:
    elsewhere = "select run_uuid, artifact_uri from runs where substr(artifact_uri, 1, ?) != ?"
    for run_id, uri in connection.execute(elsewhere, (len(here) + 1, f"{here}/")).fetchall():
        wanted = f"{here}/{run_id}/artifacts"
        if not (_is_local(uri) and uri.endswith(f"/{run_id}/artifacts")):
            continue
        if _local(wanted).exists() or not _local(uri).exists():
            connection.execute("update runs set artifact_uri = ? where run_uuid = ?", (wanted, run_id))


def _is_local(uri: str) -> bool:
    return uri.startswith(("file:", "/"))


def _local(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else Path(uri)


@contextmanager
def without_stray_folder(database: Path) -> Iterator[None]:
    """Open MLflow's store inside this context: MLflow also creates the percent-encoded folder, which is removed."""
    stray = Path(sqlite_uri(database).removeprefix("sqlite:///")).parent
    new = [] if stray == database.parent else [each for each in (stray, *stray.parents) if not each.exists()]
    try:
        yield
    finally:
        for folder in new:
            with suppress(OSError):  # was not created, or is in use
                folder.rmdir()

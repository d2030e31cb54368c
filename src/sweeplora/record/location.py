"""Where the record of a runs folder is, wherever the folder was moved."""

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
    """Give MLflow, which cannot be imported without one, a home where the user has none, as in some containers."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()


def tracking_of(config: Mapping[str, Any], runs: Path, changed: Mapping[str, Any] = MappingProxyType({})) -> Tracking:
    """The settings of a resolved config's record, whose runs folder is `runs` now, with some keys changed."""
    node = follow_runs(config["tracking"], Path(config.get("runs", runs)), runs)
    return Tracking(**{key: value for key, value in {**node, **changed}.items() if key != "_target_"})


def follow_runs(tracking: Mapping[str, Any], then: Path, now: Path) -> dict[str, Any]:
    """The settings of a record that were made for the runs folder `then`, for where it is `now`."""
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
    """Have MLflow's database say that the artifacts are below `artifacts`, after its folder was moved or copied.

    MLflow keeps their absolute places. A run's place is changed where its files are below `artifacts` or nowhere,
    so that runs of an earlier setting of `tracking.artifacts` stay readable. Raises OSError where it is locked.
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
    except sqlite3.Error as error:
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
    """Open MLflow's store inside: it makes the folder of the address as it is written, percent-encoded, too."""
    stray = Path(sqlite_uri(database).removeprefix("sqlite:///")).parent
    new = [] if stray == database.parent else [each for each in (stray, *stray.parents) if not each.exists()]
    try:
        yield
    finally:
        for folder in new:
            with suppress(OSError):  # not made, or in use
                folder.rmdir()

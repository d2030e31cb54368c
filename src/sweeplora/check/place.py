"""Checks where a run writes: the folder of runs, and the files and databases of the record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweeplora.errors import Problems, UserError
from sweeplora.rundir.databases import store_uri

_LEAST_FREE = 1 << 29


def note_place(config: Mapping[str, Any], problems: Problems) -> None:
    """Add what is wrong with the folder of runs and with the record's locations."""
    problems.attempt(("runs",), lambda: _check_runs(Path(config["runs"])))
    problems.attempt(("tracking", "runs"), lambda: _check_record(config["tracking"]))


def exists_and_writable(folder: Path) -> bool:
    """Whether files can be created in `folder`, or in the nearest parent that exists."""
    nearest = _nearest_parent(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def remove_new(runs: Path) -> None:
    """Remove a folder of runs that holds nothing but the caches of a check."""
    shutil.rmtree(runs / "cache", ignore_errors=True)
    for folder in (runs, *runs.parents):
        try:
            folder.rmdir()
        except OSError:
            return


def _check_runs(runs: Path) -> None:
    if not exists_and_writable(runs):
        raise UserError("runs", runs, "files cannot be created there; give a folder of your own")
    free = shutil.disk_usage(_nearest_parent(runs)).free
    if free < _LEAST_FREE:
        raise UserError("runs", runs, f"only {free >> 20} MiB are free there; a run needs {_LEAST_FREE >> 20}")


def _check_record(tracking: Mapping[str, Any]) -> None:
    if not tracking["enabled"]:
        return
    if tracking["tensorboard"] is not None and find_spec("tensorboard") is None:
        mend = "the package is not installed; pip install 'sweeplora[tensorboard]', or null"
        raise UserError("tracking.tensorboard", tracking["tensorboard"], mend)
    if tracking["tensorboard"] is not None and not exists_and_writable(Path(tracking["tensorboard"])):
        mend = "files cannot be created there; give a folder of your own, or null"
        raise UserError("tracking.tensorboard", tracking["tensorboard"], mend)
    uri = str(tracking["uri"])
    if uri.startswith(("http://", "https://")):
        return
    artifacts = str(tracking["artifacts"])
    if "://" not in artifacts and not exists_and_writable(Path(artifacts)):
        raise UserError("tracking.artifacts", artifacts, "files cannot be created there; give a folder of your own")
    _check_database(uri)


def _check_database(uri: str) -> None:
    """Refuse an address whose database cannot be reached with the installed drivers."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(store_uri(uri))
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        mend = "give sqlite:///PATH.db for a database beside the runs, or the http:// address of a server"
        raise UserError("tracking.uri", uri, f"{mend} ({error})") from error
    except ModuleNotFoundError as error:
        driver = error.name or url.drivername
        raise UserError("tracking.uri", uri, f"its driver is not installed; pip install {driver}") from error
    if url.get_backend_name() == "sqlite" and url.database and not exists_and_writable(Path(url.database).parent):
        raise UserError("tracking.uri", uri, "the database cannot be created there; give a folder of your own")


def _nearest_parent(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder

"""Removes the runs of a study or a single run from the tracking server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sweeplora.errors import UserError
from sweeplora.record.location import have_home
from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.store.subject import one_line
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.databases import sqlite_path

if TYPE_CHECKING:
    from sweeplora.record.store.client import Store


def recorded(tracking: Tracking, root: str) -> int:
    """How many runs the tracking server has of the folder `root` (below `runs`), which are not deleted yet.

    Raises UserError if it does not answer.
    """
    from sweeplora.record.store.client import TROUBLE

    if not _is_there(tracking):
        return 0
    try:
        return sum(not known.deleted for known in _store(tracking).known(root).values())
    except TROUBLE as error:
        raise _refusal(tracking, error) from error


def forget(tracking: Tracking, root: str) -> None:
    """Delete the runs of a folder and their files, as in MLflow's UI; `mlflow gc` then removes their rows too."""
    from sweeplora.record.store.client import TROUBLE

    if not _is_there(tracking):
        return
    try:
        _store(tracking).forget(root)
    except TROUBLE as error:
        raise _refusal(tracking, error) from error


def _store(tracking: Tracking) -> Store:
    from sweeplora.record.store.client import Store

    have_home()
    return Store(tracking.uri, tracking.experiment, Path(tracking.artifacts), revive=False)


def _is_there(tracking: Tracking) -> bool:
    database = sqlite_path(tracking.uri)
    return tracking.enabled and (database is None or database.is_file())


def _refusal(tracking: Tracking, error: Exception) -> UserError:
    return UserError("tracking.uri", without_credentials(tracking.uri), f"the record is not changed: {one_line(error)}")

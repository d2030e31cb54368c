"""Removes the runs of a study or a single run from the tracking server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeplora.errors import UserError
from sweeplora.record.location import have_home
from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.store.sent import Sent, read_sent
from sweeplora.record.store.subject import one_line
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.databases import sqlite_path
from sweeplora.rundir.lock import hold

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


def forget_weights(tracking: Tracking, runs: Path, owner: Path, gone: Mapping[Path, Sequence[str]]) -> None:
    """Delete weights and their logged models from the record of a study or a single run, `owner`.

    `gone`: a run folder of it -> the names of artifacts, e.g. `weights/toy.safetensors`. To be done before the files
    go: on one disk they are the store's files too. Raises UserError if the store fails, or a mirror is at work.
    """
    from sweeplora.record.store.client import TROUBLE

    if not _is_there(tracking):
        return
    try:
        with hold(owner / "mirror.lock"):
            store = _store(tracking)
            there = store.folders_of(owner.relative_to(runs).as_posix())
            for folder, keys in gone.items():
                _forget_files(store, read_sent(folder, tracking.address), there, runs, (folder, keys))
    except BlockingIOError:
        mend = "its record is being written; try again when that has ended, nothing of it is removed"
        raise UserError("clean", owner.name, mend) from None
    except TROUBLE as error:
        mend = "its weights stay, here too; tracking.enabled=false removes the files of the run folders alone"
        raise UserError("clean", owner.name, f"the record is not changed ({one_line(error)}): {mend}") from error


def _forget_files(
    store: Store, sent: Sent, there: Mapping[str, str], runs: Path, gone: tuple[Path, Sequence[str]]
) -> None:
    folder, keys = gone
    name = folder.relative_to(runs).as_posix()
    # Where it is not remembered what was sent, the newest run of the folder is this one's.
    known = sent.run_id if sent.run_id in there else next((one for one, where in there.items() if where == name), None)
    if known is None:
        return
    store.drop_weights(known, keys)
    if known == sent.run_id:
        for key in keys:
            sent.files.pop(key, None)
            sent.models.pop(key, None)
        sent.save(folder)


def _store(tracking: Tracking) -> Store:
    from sweeplora.record.store.client import Store

    have_home()
    return Store(tracking.uri, tracking.experiment, Path(tracking.artifacts), revive=False)


def _is_there(tracking: Tracking) -> bool:
    database = sqlite_path(tracking.uri)
    return tracking.enabled and (database is None or database.is_file())


def _refusal(tracking: Tracking, error: Exception) -> UserError:
    return UserError("tracking.uri", without_credentials(tracking.uri), f"the record is not changed: {one_line(error)}")

"""The MLflow runs of one study or one single run: which exist, and where each folder is sent."""

from __future__ import annotations

from pathlib import Path

from sweeplora.record.store.client import Known, Store
from sweeplora.record.store.grid_images import Pictures, pictures_of
from sweeplora.record.store.run import StoredRun
from sweeplora.record.store.shared_view import TAG, key_of, view_of
from sweeplora.record.store.subject import SWEPT, Subject
from sweeplora.record.tracking import Tracking


class StoredRuns:
    """A connection to the store, and its runs of one root folder.

    `root` is the folder's path below `runs`.
    """

    def __init__(self, tracking: Tracking, root: str, revive: bool) -> None:
        self.store = Store(tracking.uri, tracking.experiment, Path(tracking.artifacts), revive)
        self._root = root
        self._address = tracking.address
        self._known: dict[str, Known] = self.store.known(root)
        self._runs: dict[Path, StoredRun] = {}
        self._view = ""

    def of(self, folder: Path) -> StoredRun:
        """The run that a folder is sent to."""
        if folder not in self._runs:
            there = {known.run_id for known in self._known.values()}
            self._runs[folder] = StoredRun(folder, self._address, there)
        return self._runs[folder]

    def has(self, identity: str) -> bool:
        """Whether a run was created for an identity, even if it was deleted since."""
        return identity in self._known

    def is_deleted(self, identity: str) -> bool:
        """Whether the run was deleted in the UI, which is respected."""
        return identity in self._known and self._known[identity].deleted

    def open(self, run: StoredRun, subject: Subject, parent: str | None) -> None:
        """Open an MLflow run to write to, a new one if there is none or it was deleted."""
        known = None if self.is_deleted(subject.identity) else self._known.get(subject.identity)
        run.open(self.store, subject, known, self._root, parent)
        assert run.run_id is not None, "it was opened"
        if SWEPT in subject.tags:
            self._share_view(subject, pictures_of(run.path))
        self._known[subject.identity] = Known(run.run_id, deleted=False)

    def _share_view(self, subject: Subject, pictures: Pictures) -> None:
        """Keep MLflow's view of a sweep up to date: its columns and charts grow with what the trials searched."""
        view = view_of(subject, self._root, pictures)
        if view != self._view:
            self.store.tag_experiment({f"{TAG}{key_of(self._root)}": view})
            self._view = view

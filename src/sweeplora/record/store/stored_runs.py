"""The MLflow runs of one study, or of one single run: which there are, and where each folder is sent."""

from __future__ import annotations

from pathlib import Path

from sweeplora.record.store.client import Known, Store
from sweeplora.record.store.run import StoredRun
from sweeplora.record.store.subject import Subject
from sweeplora.record.tracking import Tracking


class StoredRuns:
    """A connection to the store, and the runs that it has of one root folder.

    `root` is the folder's path below `runs`.
    """

    def __init__(self, tracking: Tracking, root: str, revive: bool) -> None:
        self.store = Store(tracking.uri, tracking.experiment, Path(tracking.artifacts), revive)
        self._root = root
        self._address = tracking.address
        self._known: dict[str, Known] = self.store.known(root)
        self._runs: dict[Path, StoredRun] = {}

    def of(self, folder: Path) -> StoredRun:
        """Where a folder is sent."""
        if folder not in self._runs:
            there = {known.run_id for known in self._known.values()}
            self._runs[folder] = StoredRun(folder, self._address, there)
        return self._runs[folder]

    def has(self, identity: str) -> bool:
        """Whether a run was made for an identity, be it deleted since."""
        return identity in self._known

    def is_deleted(self, identity: str) -> bool:
        """Whether a person deleted the run in the UI, which is respected."""
        return identity in self._known and self._known[identity].deleted

    def open(self, run: StoredRun, subject: Subject, parent: str | None) -> None:
        """Have an MLflow run to write to, a new one where there is none or where it was deleted."""
        known = None if self.is_deleted(subject.identity) else self._known.get(subject.identity)
        run.open(self.store, subject, known, self._root, parent)
        assert run.run_id is not None, "it was opened"
        self._known[subject.identity] = Known(run.run_id, deleted=False)

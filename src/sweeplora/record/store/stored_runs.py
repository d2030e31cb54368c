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

    def __init__(self, tracking: Tracking, root: str) -> None:
        self.store = Store(tracking.uri, tracking.experiment, Path(tracking.artifacts))
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

    def open(self, run: StoredRun, subject: Subject, parent: str | None) -> bool:
        """Have an MLflow run to write to; False where a person deleted it in the UI, which is respected."""
        known = self._known.get(subject.identity)
        if known is not None and known.deleted:
            return False
        run.open(self.store, subject, known, self._root, parent)
        return True

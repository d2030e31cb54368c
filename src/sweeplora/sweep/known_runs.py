"""Run folders by signature: an index of the folders below `runs`, so that a look-up does not read them all again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import DamagedRecord, read_trial

_SECONDS_BETWEEN_LOOKS = 5.0
"""What another command finishes meanwhile is found after so long at the latest."""

_TICK_NS = 2_000_000_000
"""A folder that changed so recently may change again without another time of change."""

_UNSETTLED = -1
_SINGLE = "single"


class KnownRuns:
    """The run folders below `runs` by signature.

    A study's trials carry the signature in their folder's name, single runs in their trial.json. A parent folder is
    listed again only after its time of change differs, and that is looked at every few seconds at most.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._looked: float | None = None
        self._changed: dict[str, int] = {}
        self._folders: dict[str, dict[str, str]] = {}
        """Parent folder -> name of a run folder -> its signature."""
        self._by_signature: dict[str, set[Path]] = {}

    def candidates(self, signature: str) -> Iterator[RunDir]:
        """Run folders with this signature, finished or not: those of studies by name, then single runs."""
        if self._looked is None or time.monotonic() >= self._looked + _SECONDS_BETWEEN_LOOKS:
            self._look()
        folders = sorted(self._by_signature.get(signature, ()))
        for folder in sorted(folders, key=lambda one: one.parent.name == _SINGLE):
            yield RunDir(folder)

    def add(self, run: RunDir, signature: str) -> None:
        """Take a new run folder in, without waiting for the next look."""
        self._folders.setdefault(run.path.parent.name, {})[run.path.name] = signature
        self._by_signature.setdefault(signature, set()).add(run.path)

    def _look(self) -> None:
        self._looked = time.monotonic()
        found: set[str] = set()
        for entry in _folders(self._runs):
            found.add(entry.name)
            changed = entry.stat().st_mtime_ns
            if self._changed.get(entry.name) != changed:
                settled = self._list(entry.name) and changed < time.time_ns() - _TICK_NS
                self._changed[entry.name] = changed if settled else _UNSETTLED
        for gone in self._changed.keys() - found:
            del self._changed[gone]
            self._forget(gone, self._folders.pop(gone, {}))

    def _list(self, parent: str) -> bool:
        """List a parent's run folders; False if one of them has no signature yet."""
        before = self._folders.get(parent, {})
        after: dict[str, str] = {}
        settled = True
        for entry in _folders(self._runs / parent):
            signature = before.get(entry.name) or _signature(Path(entry.path))
            settled = settled and signature is not None
            if signature:
                after[entry.name] = signature
                self._by_signature.setdefault(signature, set()).add(Path(entry.path))
        self._forget(parent, {name: signature for name, signature in before.items() if name not in after})
        self._folders[parent] = after
        return settled

    def _forget(self, parent: str, gone: dict[str, str]) -> None:
        for name, signature in gone.items():
            self._by_signature.get(signature, set()).discard(self._runs / parent / name)


def _signature(folder: Path) -> str | None:
    """The signature of a run folder; empty for a folder that is none, None if it is not written yet."""
    if folder.parent.name != _SINGLE:
        return folder.name.rpartition("-")[2] if "-" in folder.name else ""
    try:
        record = read_trial(RunDir(folder))
    except DamagedRecord:
        return ""
    return None if record is None else record.signature or ""


def _folders(parent: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(parent) as entries:
            return [entry for entry in entries if entry.is_dir()]
    except OSError:
        return []

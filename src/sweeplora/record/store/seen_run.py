"""What of one folder was sent to the store, and whether that is all of it; needs no MLflow."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from sweeplora.record.store.artifacts import Piece, pieces
from sweeplora.record.store.sent import Sent, read_sent
from sweeplora.rundir.folder import RunDir

_LOG_SECONDS = 60.0


class SeenRun:
    """The MLflow run that one folder is sent to; what was sent is remembered in the folder's `mirror.json`."""

    def __init__(self, path: Path, address: str, there: Collection[str]) -> None:
        """`there`: the runs in the store; what was sent to a run that is gone is forgotten."""
        self.path = path
        self._address = address
        self._sent = read_sent(path, address)
        if self._sent.run_id not in there:
            self._sent = Sent(address)
        self._logged = 0.0

    @property
    def run_id(self) -> str | None:
        """The MLflow run's id, None until there is one."""
        return self._sent.run_id

    def look(self, subject_state: str, more: Sequence[Piece] = (), about: str = "") -> tuple[list[Piece], str]:
        """The files to keep up to date, with `more`, and a fingerprint that changes when there is something to send.

        `about`: what else the run says, by what other folders hold. A growing log counts as changed once a minute, and
        when the run has ended; the scores are sent at the end.
        """
        found = [*pieces(self.path), *more]
        if subject_state == "running":
            found = [piece for piece in found if piece.key != "scores.jsonl"]
        if subject_state == "running" and time.monotonic() - self._logged < _LOG_SECONDS:
            found = [piece for piece in found if piece.key != "log.txt"]
        metrics, system = RunDir(self.path).metrics, RunDir(self.path).system
        size = metrics.stat().st_size if metrics.exists() else 0
        load = [str(system.stat().st_size)] if system.exists() else []
        text = "\n".join([subject_state, str(size), *load, *(f"{p.key} {p.fingerprint}" for p in found)])
        text += f"\n{about}" if about else ""
        return found, hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_complete(self, fingerprint: str) -> bool:
        """Whether everything found by this look has been sent."""
        return self._sent.complete == fingerprint

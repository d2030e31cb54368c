"""Requests to stop: SIGTERM, or the death of the supervisor that started this training."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

from sweeplora.rundir.lock import is_held

INTERRUPTED = 4
"""Exit code of a training that was asked to stop."""

_POLL_SECONDS = 1.0
_GRACE_SECONDS = 6.0  # plus the poll and delays of a busy machine: within the 10 s allowed after a driver's death


class Interrupted(Exception):
    """A process was asked to stop; all processes stop after the same step."""


class Stop:
    """Whether this training has been asked to stop; it stops after the current optimizer step.

    Given a supervisor's lock file, a thread checks every second that the supervisor is alive. If it has died and
    the training does not finish its step within 6 s, the process exits immediately.
    """

    def __init__(self, supervisor: Path | None) -> None:
        self.requested = False
        signal.signal(signal.SIGTERM, self._on_signal)
        if supervisor is not None:
            threading.Thread(target=self._watch, args=(supervisor,), daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def _watch(self, supervisor: Path) -> None:
        while _is_supervised(supervisor):
            time.sleep(_POLL_SECONDS)
        self.requested = True
        time.sleep(_GRACE_SECONDS)
        os._exit(INTERRUPTED)


def _is_supervised(lock: Path) -> bool:
    """Whether the supervisor is alive; a deleted run folder has none."""
    try:
        return is_held(lock)
    except OSError:
        return False

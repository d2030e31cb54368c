"""Requests to a training: to stop (SIGTERM, or the death of its supervisor), or to write its state (SIGUSR1)."""

from __future__ import annotations

import os
import signal
import threading
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
    """Whether this training has been asked to stop; it stops after the current optimizer step, and writes its state.

    SIGUSR1 asks for the state alone. Given a supervisor's lock file, a thread checks every second that the supervisor
    is alive. If it has died and the training does not finish its step within 6 s, the process exits immediately.
    `close` ends the watching: the process goes on without this training.
    """

    def __init__(self, supervisor: Path | None) -> None:
        self.requested = False
        self._closed = threading.Event()
        self._state_asked = False
        self._before = signal.signal(signal.SIGTERM, self._on_signal)
        self._before_state = signal.signal(signal.SIGUSR1, self._on_usr1)
        if supervisor is not None:
            threading.Thread(target=self._watch, args=(supervisor,), daemon=True).start()

    def close(self) -> None:
        """Stop watching, and handle both signals as before."""
        self._closed.set()
        signal.signal(signal.SIGTERM, self._before)
        signal.signal(signal.SIGUSR1, self._before_state)

    def take_state_request(self) -> bool:
        """Whether the state was asked for since the last call."""
        asked, self._state_asked = self._state_asked, False
        return asked

    def _on_usr1(self, number: int, frame: FrameType | None) -> None:
        self._state_asked = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def _watch(self, supervisor: Path) -> None:
        while _is_supervised(supervisor):
            if self._closed.wait(_POLL_SECONDS):
                return
        if self._closed.is_set():
            return
        self.requested = True
        if not self._closed.wait(_GRACE_SECONDS):
            os._exit(INTERRUPTED)


def _is_supervised(lock: Path) -> bool:
    """Whether the supervisor is alive; a deleted run folder has none."""
    try:
        return is_held(lock)
    except OSError:
        return False

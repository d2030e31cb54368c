"""Being asked to stop: SIGTERM, or the death of the supervisor that started this training."""

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
_GRACE_SECONDS = 8.0


class Stop:
    """Whether this training was asked to stop; it ends at the next optimizer step.

    With a supervisor's lock file, a thread looks every second whether the supervisor still lives. A training
    whose supervisor died and that does not come to its next step within 8 s is ended on the spot.
    """

    def __init__(self, supervisor: Path | None) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._on_signal)
        if supervisor is not None:
            threading.Thread(target=self._watch, args=(supervisor,), daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def _watch(self, supervisor: Path) -> None:
        while _is_supervised(supervisor):
            time.sleep(_POLL_SECONDS)
        self.asked = True
        time.sleep(_GRACE_SECONDS)
        os._exit(INTERRUPTED)


def _is_supervised(lock: Path) -> bool:
    """Whether the supervisor lives; a run folder that is gone has none."""
    try:
        return is_held(lock)
    except OSError:
        return False

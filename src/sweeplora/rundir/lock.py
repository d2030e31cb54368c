"""File locks that the kernel releases when the process dies."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import BinaryIO

_LOCK_TRIES = 5


def hold(lock: Path) -> BinaryIO:
    """Lock a file for the lifetime of this process; raises BlockingIOError if another process holds it."""
    stream = lock.open("ab")
    for patience in range(_LOCK_TRIES, -1, -1):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return stream
        except BlockingIOError:
            if not patience:
                stream.close()
                raise
            time.sleep(0.02)
    raise AssertionError("the last try returns or raises")


def is_held(lock: Path) -> bool:
    """Whether a living process holds the lock; the kernel releases it when the process dies for any reason.

    Probes with a momentary shared lock; a concurrent `hold` waits for it to be released.
    """
    with lock.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

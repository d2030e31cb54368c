"""Locks that the kernel releases when their process dies."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import BinaryIO

_LOCK_TRIES = 5


def hold(lock: Path) -> BinaryIO:
    """Take a lock file for this process's life; raises BlockingIOError when another process holds it."""
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
    """Whether a living process holds the lock; the kernel lets go when that process dies, however it dies.

    Asks with a shared lock of an instant, which a `hold` at the same moment waits out.
    """
    with lock.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

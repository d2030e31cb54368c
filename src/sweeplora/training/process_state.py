"""What a user's part could leave changed in Python and in the process, besides torch."""

from __future__ import annotations

import locale
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

_LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")


def process_state() -> dict[str, Any]:
    """The settings of Python, NumPy and the process that another training would find: name -> something to compare."""
    return {
        "numpy.geterr": np.geterr(),
        "sys.getrecursionlimit": sys.getrecursionlimit(),
        "sys.excepthook": sys.excepthook,
        "threading.excepthook": threading.excepthook,
        "sys.stdout and sys.stderr": (id(sys.stdout), id(sys.stderr)),
        "sys.gettrace": (sys.gettrace(), sys.getprofile()),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": _umask(),
        "signal.setitimer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "os.sched_setaffinity": sorted(os.sched_getaffinity(0)),
        "os.nice": os.getpriority(os.PRIO_PROCESS, 0),
        "resource.setrlimit": [resource.getrlimit(getattr(resource, name)) for name in _LIMITS],
    }


def _umask() -> str:
    """The mask of new files' permissions, which Python can only ask for by setting it."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return line
    return ""

"""Entry point of a training process, before heavy imports: `python -m sweeplora.launch.child <module> <run folder>`."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Sequence

PARENT = "SWEEPLORA_PARENT"
"""Environment variable with the process id of whoever starts a process that shall not outlive it."""

_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    """Import the module and train the run folder with it; returns its exit code."""
    module, run = arguments
    die_with_parent()
    ignore_state_requests()
    code: int = importlib.import_module(module).main([run])
    return code


def ignore_state_requests() -> None:
    """Let SIGUSR1 do nothing until the training, which inherits this, listens to it; by default it would kill."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def die_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent dies for any reason.

    SIGTERM kills a process that is still importing, and asks a training to stop at its next step. A parent that died
    before this call is recognised by its id.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = os.environ.get(PARENT)
    if parent is not None and os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

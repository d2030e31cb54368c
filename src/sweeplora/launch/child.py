"""Entry point of a training process, before heavy imports: `python -m sweeplora.launch.child <module> <run folder>`.

With `-` in place of the run folder it imports the module and those named after it, and waits for the run folder and its
environment: a line of JSON `{"run": path, "env": {...}}` on standard input. It ends where the input does.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeplora.rundir.folder import LOG

WAIT = "-"
"""In place of a run folder: it is named later, on standard input."""

PARENT = "SWEEPLORA_PARENT"
"""Environment variable with the process id of whoever starts a process that shall not outlive it."""

_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    """Import the module and train the run folder with it; returns its exit code."""
    module, run, *ahead = arguments
    die_with_parent()
    ignore_state_requests()
    training = importlib.import_module(module)
    for name in ahead:
        importlib.import_module(name)
    if run == WAIT:
        line = sys.stdin.readline()
        if not line:
            return 0
        request = json.loads(line)
        run = request["run"]
        os.environ.update(request["env"])
        redirect(Path(run) / LOG)
    code: int = training.main([run])
    return code


def redirect(log: Path) -> None:
    """Append this process's output to a file, and read nothing."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    redirect_output(log)


def redirect_output(log: Path) -> None:
    """Append this process's output to a file."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for target in (1, 2):
        os.dup2(output, target)
    os.close(output)


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

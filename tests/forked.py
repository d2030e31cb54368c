"""Work done in another process: what several do at once, and trainings that import nothing again."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType

from sweeplora.launch.child import die_with_parent, redirect_output
from sweeplora.launch.launcher import TRAINING
from sweeplora.launch.workers import handle_no_signal
from sweeplora.rundir.folder import RunDir


def in_a_process(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; returns its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def forked_training(run: RunDir, environment: Mapping[str, str], module: str = TRAINING) -> int:
    """Begin to train a run folder in a fork of this process; returns its id.

    It finds a user's modules in the working directory, writes to the folder's log, and exits as the module's `main`.
    """
    training = importlib.import_module(module)
    return in_a_process(lambda: _train(training, run, environment))


def _train(training: ModuleType, run: RunDir, environment: Mapping[str, str]) -> None:
    from accelerate.state import AcceleratorState

    handle_no_signal()
    die_with_parent()
    redirect_output(run.log)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.update(environment)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    AcceleratorState._reset_state(reset_partial_state=True)  # of another test, in whose process this one is forked
    code: int = training.main([str(run.path)])
    os._exit(code)

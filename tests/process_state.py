"""What a test shares with the others of its process and has to leave as it found it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD)
OURS = (
    *("SWEEPLORA", "STANDIN", "PYTHON", "OMP_", "MKL_", "CUDA_VISIBLE_DEVICES"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_"),
)
"""How the variables begin that a test or a command may add; what importing a library adds stays, once for all."""


def process_state() -> dict[str, object]:
    """Everything that a later test could stumble over, by what it is called; microseconds."""
    state: dict[str, object] = {
        "the collection of garbage": gc.isenabled(),
        "the working directory": os.getcwd(),
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "log files": [one for one in logging.root.handlers if type(one) is logging.FileHandler],
        **{f"the handler of {number.name}": signal.getsignal(number) for number in SIGNALS},
        **os.environ,
    }
    del state["PYTEST_CURRENT_TEST"]
    if (torch := sys.modules.get("torch")) is not None:
        state |= {
            "the threads of torch": torch.get_num_threads(),
            "the default dtype of torch": torch.get_default_dtype(),
            "the deterministic algorithms of torch": torch.are_deterministic_algorithms_enabled(),
            "the gradients of torch": torch.is_grad_enabled(),
        }
    return state


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What is another afterwards, a line each."""
    names = [name for name in before | after if name in before or name.startswith(OURS)]
    return [
        f"{name}: {before.get(name)!r} before, {after.get(name)!r} after"
        for name in names
        if before.get(name) != after.get(name)
    ]

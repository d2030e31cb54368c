"""How an attempt ended: told from its own report, its exit code, and its last words."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from sweeplora.launch.process import EXIT_LOST
from sweeplora.rundir.record import Attempt, Result, TrialOutcome, Verdict

_TRIED, _FREE = r"ried to allocate ([\d.]+) (\w+)", r"of which ([\d.]+) (\w+) is free"
_UNITS = {"bytes": 2.0**-30, "KiB": 2.0**-20, "MiB": 2.0**-10, "GiB": 1.0, "TiB": 1024.0}
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_LEAST_MISSING = 2.0**-10
_SENT = frozenset(
    (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
)
"""Signals that somebody sends; the others a training brings upon itself."""


def classify(result: Result | None, code: int, stopped: Verdict | None) -> TrialOutcome:
    """How a training ended, from its own report (result.json), its exit code and whether it was asked to stop."""
    status = None if result is None else result.status
    message = "" if result is None else result.message
    if status == "finished":
        return TrialOutcome("complete", message)
    if status == "diverged":
        return TrialOutcome("diverged", message)
    if stopped is not None:
        return TrialOutcome(stopped, message)
    if status == "interrupted" or code == EXIT_LOST or -code in _SENT:
        return TrialOutcome("interrupted", _ended_from_outside(code), final=False)
    if status == "refused":
        return TrialOutcome("failed", message)
    return TrialOutcome("failed", message or _died(code), final=out_of_memory(message))


def out_of_memory(message: str) -> bool:
    """Whether a training's last words are that memory ran out, on the GPU or on the host."""
    return any(words in message.lower() for words in _OUT_OF_MEMORY)


def missing_memory(message: str) -> float:
    """GiB that were missing when memory ran out, as torch says it; 1 where it does not say."""
    asked, free = (re.search(pattern, message) for pattern in (_TRIED, _FREE))
    if asked is None:
        return 1.0
    missing = _gib(asked) - (0.0 if free is None else _gib(free))
    return max(missing, _LEAST_MISSING)


def _gib(found: re.Match[str]) -> float:
    return float(found[1]) * _UNITS[found[2]]


def fruitless(attempts: Sequence[Attempt]) -> int:
    """How many of the latest attempts were ended from outside before reaching a later step than all before them."""
    count = furthest = 0
    for attempt in attempts:
        if attempt.reached > furthest:
            count, furthest = 0, attempt.reached
        else:
            count += attempt.outside
    return count


def _ended_from_outside(code: int) -> str:
    if code == EXIT_LOST:
        return "ended from outside: the process that it was forked from died (preload.log of the study)"
    return f"ended from outside by {_signal_name(-code) if code < 0 else 'a signal that was not ours'}"


def _died(code: int) -> str:
    if code < 0:
        return f"the training died of {_signal_name(-code)} and left no result; see log.txt"
    return f"the training left no result (exit code {code}); see log.txt"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"

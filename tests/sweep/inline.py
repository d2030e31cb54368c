"""A launcher whose trainings are the stand-in, run to their end in this process: no process costs any time."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import NamedTuple

from sweeplora.launch.launcher import AttemptRules, Plan
from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.folder import RunDir
from tests.sweep import standin


class Ended(NamedTuple):
    """A training that has ended."""

    exit_code: int
    pid: int | None = None

    def poll(self) -> int:
        """Its exit code."""
        return self.exit_code

    def signal(self, number: signal.Signals) -> None:
        """Nothing: it has ended."""


@dataclass(frozen=True)
class Inline:
    """One slot, in this process."""

    attempts: int = 2

    @property
    def rules(self) -> AttemptRules:
        """As many attempts as were given."""
        return AttemptRules(self.attempts, False, 1.0)

    def plan(self, most: int, shape: Shape | None = None) -> Plan:
        """The one slot."""
        shape = shape or Shape(1, 1)
        return Plan([Slot(0, shape.processes, shape.threads, "cpu", ())])

    def start(self, run: RunDir, slot: Slot, module: str) -> Ended:
        """Run the stand-in to its end."""
        os.environ["OMP_NUM_THREADS"] = str(slot.threads)
        with run.log.open("a") as log, contextlib.redirect_stdout(log):
            return Ended(standin.main([str(run.path)]))

    def close(self, kill: bool = False) -> None:
        """Nothing is left to end."""

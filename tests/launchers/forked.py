"""A launcher of real trainings that are forks of the test's process, which has imported everything already."""

from __future__ import annotations

import os
import signal

from sweeplora.launch.launcher import AttemptRules, Plan
from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.folder import RunDir
from tests.forked import forked_training


class Fork:
    """One training."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._exit: int | None = None

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._pid

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._ended(os.WNOHANG)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self._pid, number)

    def wait(self) -> None:
        """Wait for its end."""
        self._ended(0)

    def _ended(self, how: int) -> int | None:
        if self._exit is None:
            pid, status = os.waitpid(self._pid, how)
            self._exit = os.waitstatus_to_exitcode(status) if pid else None
        return self._exit


class Forked:
    """One slot of one thread."""

    def __init__(self) -> None:
        self._started: list[Fork] = []

    @property
    def rules(self) -> AttemptRules:
        """One attempt."""
        return AttemptRules(attempts=1, outside_counts=True, grace_seconds=10.0)

    def plan(self, most: int, shape: Shape | None = None) -> Plan:
        """The one slot."""
        shape = shape or Shape(1, 1)
        return Plan([Slot(0, shape.processes, shape.threads, "cpu", ())])

    def start(self, run: RunDir, slot: Slot, module: str) -> Fork:
        """Train in a fork, which finds a user's modules where the command runs."""
        self._started.append(Fork(forked_training(run, slot.environment(), module)))
        return self._started[-1]

    def close(self, kill: bool = False) -> None:
        """End what still runs."""
        for started in self._started:
            started.signal(signal.SIGKILL if kill else signal.SIGTERM)
            started.wait()
        self._started = []

"""What the rest of sweeplora knows of a launcher: where trainings can run, how one is started, what it may cost."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.folder import RunDir

TRAINING = "sweeplora.training.train"
"""The module that trains: `python -m <module> <run folder>`, or its `main([run folder])`."""


@dataclass(frozen=True)
class AttemptRules:
    """What the attempts of one trial may cost.

    `attempts`: how often a training that fails by itself is tried in all. `outside_counts`: whether an attempt that
    was ended from outside (a signal that was not ours, a lost machine) counts among them. `grace_seconds`: how long
    a training has between SIGTERM and SIGKILL.
    """

    attempts: int
    outside_counts: bool
    grace_seconds: float


class Plan(NamedTuple):
    """Where trainings can run, and what is worth a line about it."""

    slots: Sequence[Slot]
    notices: tuple[str, ...] = ()


class Started(Protocol):
    """A training that was started, wherever it runs."""

    @property
    def pid(self) -> int | None:
        """Its process id on this machine; None while it is not known, or where there is none."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, EXIT_LOST where nobody saw it; None while it runs."""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to every process below it; one that has ended is no error."""


class Launcher(Protocol):
    """Target of a file of conf/launcher: the places of this study's trainings and what runs in them."""

    @property
    def rules(self) -> AttemptRules:
        """What the attempts of a trial may cost here."""

    def plan(self, most: int, shape: Shape | None = None) -> Plan:
        """Between one and `most` slots, all alike. Raises UserError where the values fit no place there is.

        `shape` is what trainings had that these continue, or belong to: the slots have it too. Raises UserError where
        the values say otherwise. Starts nothing, and may be called again: the last plan holds.
        """

    def start(self, run: RunDir, slot: Slot, module: str) -> Started:
        """Start `module` on a run folder in a slot of the plan, its output appended to the folder's log.

        The caller holds the folder's lock, and starts one training at a time in a slot.
        """

    def close(self, kill: bool = False) -> None:
        """End what was started and still runs, in order or at once, and every process of the launcher's own.

        May be called again, and before anything was started.
        """

"""The launcher interface: where trainings can run, how to start one, and how often to retry."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.folder import RunDir

TRAINING = "sweeplora.training.worker"
"""The module that trains: `python -m <module> <run folder>`, or its `main([run folder])`."""


@dataclass(frozen=True)
class AttemptRules:
    """Limits on the attempts of one trial.

    `attempts`: total attempts for a training that fails by itself. `outside_counts`: whether an attempt that was ended
    from outside (a foreign signal, a lost machine) counts towards it. `grace_seconds`: time between SIGTERM and
    SIGKILL. `halve`: a training that ran out of memory is tried again with batches in twice as many pieces.
    """

    attempts: int
    outside_counts: bool
    grace_seconds: float
    halve: bool = False


class Plan(NamedTuple):
    """Where trainings can run, and notices for the user about it."""

    slots: Sequence[Slot]
    notices: tuple[str, ...] = ()


class Started(Protocol):
    """A started training, wherever it runs."""

    @property
    def pid(self) -> int | None:
        """Its process id on this machine; None if it is not known yet or there is none."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal, EXIT_LOST if nobody saw it; None while it runs."""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and all its descendants; an ended process is no error."""


class Launcher(Protocol):
    """Target of a conf/launcher file: the slots of a study's trainings and the processes in them."""

    @property
    def rules(self) -> AttemptRules:
        """The limits on a trial's attempts with this launcher."""

    def plan(self, most: int, shape: Shape | None = None) -> Plan:
        """Plan between one and `most` identical slots. Raises UserError if the values fit no available device.

        `shape`: that of the trainings to continue or of their study; the slots get it too. Raises UserError if the
        values contradict it. Starts nothing, and may be called again: the last plan holds.
        """

    def start(self, run: RunDir, slot: Slot, module: str) -> Started:
        """Start `module` on a run folder in a slot of the plan; its output is appended to the folder's log.

        The caller holds the folder's lock and runs one training at a time in a slot.
        """

    def close(self, kill: bool = False) -> None:
        """Stop the trainings that still run, gracefully or at once, and all of the launcher's own processes.

        May be called repeatedly, and before anything was started.
        """


@runtime_checkable
class Preloads(Protocol):
    """A launcher that can get ready while a configuration is still being checked."""

    def preload(self, most: int, module: str, config: Mapping[str, Any]) -> None:
        """Begin what the first of `most` trainings would wait for; `close` ends it. Raises what `plan` raises.

        `config` is the whole configuration, which may be refused yet.
        """


@runtime_checkable
class Waits(Protocol):
    """A launcher that hears of the end of a training at once."""

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier if one of its trainings may have begun or ended."""

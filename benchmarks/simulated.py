"""A launcher that starts no training: it writes what one would leave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeplora.config.compose import compose
from sweeplora.experiment import Configuration
from sweeplora.launch.launcher import AttemptRules, Plan
from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Result, write_result
from sweeplora.sweep.question import Compose


@dataclass(frozen=True)
class WithoutTrainings:
    """Slots on no device; a launcher adds `start`."""

    slots: int

    @property
    def rules(self) -> AttemptRules:
        """One attempt."""
        return AttemptRules(1, False, 1.0)

    def plan(self, most: int, shape: Shape | None = None) -> Plan:
        """The simulated slots."""
        return Plan([Slot(index, 1, 1, "cpu", ()) for index in range(min(most, self.slots))])

    def close(self, kill: bool = False) -> None:
        """Nothing is left to end."""


def write_training(run: RunDir) -> None:
    """Write what a finished training of eight steps leaves; its val/loss follows from the run's signature."""
    value = int(run.path.name[-6:], 16) / 16**6
    lines = [json.dumps({"step": s, "time": 0.0, "values": {"loss": 1.0, "val/loss": value}}) for s in range(9)]
    run.metrics.write_text("\n".join(lines) + "\n")
    write_result(run, Result("finished", steps=8))


def composing_with(launcher: Mapping[str, Any]) -> Compose:
    """The composer, with this node in place of the configured launcher."""

    def composed(overrides: Sequence[str], proposed: Sequence[str] = ()) -> Configuration:
        configuration = compose(overrides, proposed)
        configuration.config["launcher"] = dict(launcher)
        return configuration

    return composed

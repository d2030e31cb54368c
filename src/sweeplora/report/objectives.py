"""The objectives of a run, read from its metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import TrialOutcome


def last_values(run: RunDir, objectives: Sequence[str]) -> tuple[float | None, ...]:
    """The last value of each objective, None if it was never measured."""
    series = read_metrics(run.metrics)
    return tuple(list(series[key].values())[-1] if key in series else None for key in objectives)


def measured(run: RunDir, objectives: Sequence[str], message: str) -> TrialOutcome:
    """The outcome of a trial whose training finished: complete only if every objective has a finite value."""
    named = ", ".join(objectives)
    values = tuple(value for value in last_values(run, objectives) if value is not None)
    if len(values) < len(objectives):
        return TrialOutcome("failed", f"it finished without a value of {named}")
    if not all(map(math.isfinite, values)):
        return TrialOutcome("diverged", f"{named} is not finite at the last step")
    return TrialOutcome("complete", message, values)

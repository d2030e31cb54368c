"""The objectives of a run, read from its metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import DamagedRecord, TrialOutcome, read_result

FILE_SIZE = "file_mib"
"""The objective that is no metric: the size of the last weights file in MiB."""


def last_values(run: RunDir, objectives: Sequence[str]) -> tuple[float | None, ...]:
    """The last value of each objective, None if it was never measured."""
    series = read_metrics(run.metrics)
    known = {key: list(values.values())[-1] for key, values in series.items() if values}
    if FILE_SIZE in objectives and (size := _file_mib(run)) is not None:
        known[FILE_SIZE] = size
    return tuple(known.get(key) for key in objectives)


def _file_mib(run: RunDir) -> float | None:
    try:
        result = read_result(run)
    except DamagedRecord:
        return None
    weights = run.path / result.weights if result is not None and result.weights else None
    return weights.stat().st_size / 2**20 if weights is not None and weights.is_file() else None


def measured(run: RunDir, objectives: Sequence[str], message: str) -> TrialOutcome:
    """The outcome of a trial whose training finished: complete only if every objective has a finite value."""
    named = ", ".join(objectives)
    values = tuple(value for value in last_values(run, objectives) if value is not None)
    if len(values) < len(objectives):
        return TrialOutcome("failed", f"it finished without a value of {named}")
    if not all(map(math.isfinite, values)):
        return TrialOutcome("diverged", f"{named} is not finite at the last step")
    return TrialOutcome("complete", message, values)

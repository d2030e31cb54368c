"""The objectives of a run, read from its metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import DamagedRecord, TrialOutcome, read_result

FILE_SIZE = "file_mib"
"""The objective that is the size of the last weights file in MiB."""

PREFERENCE = "preference"
"""The objective that a person decides (`python -m sweeplora prefer`): the share of decided comparisons with an average
trial of the study that a trial loses. It is known from `preferences.jsonl`, and changes with every comparison."""

UNKNOWN_PREFERENCE = 0.5
"""The value of a trial that was not compared yet."""


def last_values(run: RunDir, objectives: Sequence[str]) -> tuple[float | None, ...]:
    """The last value of each objective, None if it was never measured."""
    series = read_metrics(run.metrics)
    known = {key: list(values.values())[-1] for key, values in series.items() if values}
    if FILE_SIZE in objectives and (size := _file_mib(run)) is not None:
        known[FILE_SIZE] = size
    if PREFERENCE in objectives:
        from sweeplora.report.samples import samples_of  # Pillow, which lists of runs do without

        if samples_of(run.path):
            known[PREFERENCE] = UNKNOWN_PREFERENCE
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
        if PREFERENCE in objectives:
            return TrialOutcome("failed", "it finished without a preview to compare")
        return TrialOutcome("failed", f"it finished without a value of {named}")
    if not all(map(math.isfinite, values)):
        return TrialOutcome("diverged", f"{named} is not finite at the last step")
    return TrialOutcome("complete", message, values)

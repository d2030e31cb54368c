"""What a night's trainings measured, read from their run folders: losses by configuration, seed and metric."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sweeplora.nightly.canary import STEPS
from sweeplora.nightly.ended import Fault, fault_of, reason_of
from sweeplora.nightly.plan import Training
from sweeplora.nightly.quality import OBJECTIVE
from sweeplora.report.statistics import Losses
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import TrialRecord
from sweeplora.rundir.scores import read_scores

LOSS = "loss"
_DIGITS = 16

Records = Mapping[int, tuple[RunDir, TrialRecord]]


@dataclass(frozen=True)
class Lost:
    """A training without a result."""

    fault: Fault
    reason: str


@dataclass(frozen=True)
class Evidence:
    """What one configuration measured.

    `seeds`: seed -> metric -> losses, val/loss by validation triple [T], other metrics one number [1]. `triples`: a
    digest of what makes the triples the same measurement; None where nothing was scored. `course`: the first losses at
    the canary's seed; `again`: those of the same training once more. `lost`: seed -> why there is nothing.
    """

    seeds: Mapping[int, Mapping[str, Losses]] = field(default_factory=dict)
    triples: str | None = None
    course: tuple[float, ...] = ()
    again: tuple[float, ...] = ()
    lost: Mapping[int, Lost] = field(default_factory=dict)
    source: str = ""
    """The hash of the training's source."""


def read_evidence(trainings: Sequence[Training], records: Records, canary_seed: int) -> Evidence:
    """The evidence of one configuration's trainings."""
    seeds: dict[int, dict[str, Losses]] = {}
    lost: dict[int, Lost] = {}
    digests: set[str] = set()
    courses: dict[bool, tuple[float, ...]] = {}
    source = ""
    for training in trainings:
        run, record = records.get(training.number, (None, None))
        fault = fault_of(record)
        if fault is not Fault.NONE and not training.again:
            lost[training.seed] = Lost(fault, reason_of(record))
        if run is None or record is None:
            continue
        source = record.code.get("source", source)
        series = read_metrics(run.metrics)
        if training.seed == canary_seed:
            courses[training.again] = _course(series.get(LOSS, {}))
        if fault is not Fault.NONE or training.again:
            continue
        seeds[training.seed], digest = _values(run, series)
        digests |= {digest} if digest else set()
    triples = digests.pop() if len(digests) == 1 else None
    return Evidence(seeds, triples, courses.get(False, ()), courses.get(True, ()), lost, source)


def course_of(run: RunDir) -> tuple[float, ...]:
    """The first losses of a run, in order of the steps."""
    return _course(read_metrics(run.metrics).get(LOSS, {}))


def _course(losses: Mapping[int, float]) -> tuple[float, ...]:
    return tuple(losses[step] for step in sorted(losses) if 1 <= step <= STEPS)


def _values(run: RunDir, series: Mapping[str, Mapping[int, float]]) -> tuple[dict[str, Losses], str]:
    """The last value of every metric, and val/loss by triple; with a digest of the triples."""
    found: dict[str, Losses] = {
        key: np.array([list(values.values())[-1]]) for key, values in series.items() if values and _is_judged(key)
    }
    scores = read_scores(run)
    if scores is None or not scores.by_step:
        found.pop(OBJECTIVE, None)
        return found, ""
    found[OBJECTIVE] = np.array(list(scores.by_step.values())[-1])
    return found, hashlib.sha256("\n".join(scores.triples).encode()).hexdigest()[:_DIGITS]


def _is_judged(key: str) -> bool:
    return key.startswith(("val/", "probe/"))

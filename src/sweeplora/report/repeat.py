"""Two runs of one experiment compared: identical, or where they part and by how much."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import read_result

_NO_RESULTS = re.compile(r"(?:.*[/_])?(?:seconds?|time|memory|mib|epoch)(?:[/_].*)?")
"""Metrics that say how a training ran, not what it computed."""


@dataclass(frozen=True)
class Parting:
    """The first step at which a metric of two runs differs; None for a value that one of them lacks."""

    step: int
    key: str
    then: float | None
    now: float | None

    @property
    def size(self) -> float | None:
        """The absolute difference, None if a value is missing."""
        return None if self.then is None or self.now is None else abs(self.now - self.then)


@dataclass(frozen=True)
class Repeat:
    """How a second run compares with the first: `steps` that both have, where they part, hashes of the last weights."""

    steps: int
    parting: Parting | None
    largest: Mapping[str, float]
    """The largest absolute difference over the steps that both have, by metric; those without any are left out."""
    weights_then: str | None
    weights_now: str | None

    @property
    def identical(self) -> bool:
        """Whether every metric and, where both have them, the bytes of the last weights are equal."""
        known = self.weights_then is not None and self.weights_now is not None
        return self.parting is None and self.steps > 0 and (not known or self.weights_then == self.weights_now)


def compare(first: RunDir, second: RunDir) -> Repeat:
    """Compare what two runs computed; a run that ended early is compared as far as it came."""
    then, now = _results(first), _results(second)
    steps = sorted({step for series in then.values() for step in series})
    steps_now = sorted({step for series in now.values() for step in series})
    end = min(max(steps, default=-1), max(steps_now, default=-1))
    common = [step for step in {*steps, *steps_now} if step <= end]
    return Repeat(
        steps=end if common else 0,
        parting=_parting(then, now, sorted(common)),
        largest=_largest(then, now),
        weights_then=_weights(first),
        weights_now=_weights(second),
    )


def _results(run: RunDir) -> dict[str, dict[int, float]]:
    return {key: series for key, series in read_metrics(run.metrics).items() if is_computed(key)}


def is_computed(key: str) -> bool:
    """Whether a metric is a result of the training rather than its speed or memory."""
    return _NO_RESULTS.fullmatch(key) is None and not key.startswith("system/")


def _parting(
    then: Mapping[str, Mapping[int, float]], now: Mapping[str, Mapping[int, float]], steps: list[int]
) -> Parting | None:
    for step in steps:
        for key in sorted({*then, *now}):
            before, after = then.get(key, {}).get(step), now.get(key, {}).get(step)
            if not _equal(before, after):
                return Parting(step, key, before, after)
    return None


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def _largest(then: Mapping[str, Mapping[int, float]], now: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    found = {}
    for key in sorted({*then} & {*now}):
        gaps = [abs(now[key][step] - value) for step, value in then[key].items() if step in now[key]]
        if gaps and max(gaps) > 0:
            found[key] = max(gaps)
    return found


def _weights(run: RunDir) -> str | None:
    result = read_result(run)
    return None if result is None else result.weights_sha256

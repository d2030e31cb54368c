"""Change points of a series over nights: the E-divisive method with Student's test, as Apache Otava has it.

Matteson and James 2014, "A nonparametric approach for multiple change point analysis of multivariate data" (the energy
statistic); Daly et al. 2020, "The use of change point detection to identify software performance regressions"; Fleming
and Kolaczkowski 2023, "Hunter: using change point detection to hunt for performance regressions" (Student's test in
place of permutations, weak points first, then merging). Otava itself pins libraries that this package has newer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

P = 0.001
_WEAK_P = 0.05
"""To split first, so that two changes which hide each other in the whole series are both found; see `change_points`."""

_FEWEST = 2
"""Values on each side of a change."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ChangePoint:
    """The first value of a new level: its index, the means before and after it, and the p that they are one."""

    index: int
    before: float
    after: float
    p: float


def change_points(series: Sequence[float], p: float = P) -> list[ChangePoint]:
    """The changes of level in a series, in order. Values that are not finite are refused with ValueError.

    First the series is split where the energy statistic is largest, again and again while the two sides differ at all;
    then the least significant of the splits is taken back until all of them are below `p`.
    """
    values = np.asarray(series, float)
    if not np.all(np.isfinite(values)):
        raise ValueError("a series with values that are not finite")
    splits = sorted(_splits(values, 0, len(values)))
    while splits:
        found = [_point(values, splits, place) for place in range(len(splits))]
        weakest = max(range(len(found)), key=lambda place: found[place].p)
        if found[weakest].p < p:
            return found
        del splits[weakest]
    return []


def _splits(values: Values, start: int, end: int) -> list[int]:
    """Where a part of the series splits, and its parts in turn."""
    if end - start < 2 * _FEWEST:
        return []
    part = values[start:end]
    at = max(range(_FEWEST, len(part) - _FEWEST + 1), key=lambda place: energy(part[:place], part[place:]))
    if student(part[:at], part[at:]) >= _WEAK_P:
        return []
    middle = start + at
    return [*_splits(values, start, middle), middle, *_splits(values, middle, end)]


def energy(one: Values, other: Values) -> float:
    """The scaled energy distance of two samples: mn / (m + n) (2 E|X - Y| - E|X - X'| - E|Y - Y'|)."""
    between = float(np.abs(one[:, None] - other[None, :]).mean())
    inside = sum(_mean_distance(sample) for sample in (one, other))
    return len(one) * len(other) / (len(one) + len(other)) * (2 * between - inside)


def _mean_distance(sample: Values) -> float:
    """Between different members, over all ordered pairs that are not the same one."""
    count = len(sample)
    return float(np.abs(sample[:, None] - sample[None, :]).sum()) / (count * (count - 1)) if count > 1 else 0.0


def student(one: Values, other: Values) -> float:
    """The two-sided p of Student's test that two samples have one mean; 0 or 1 for samples without any spread."""
    from scipy.stats import t

    freedom = len(one) + len(other) - 2
    pooled = (one.var() * len(one) + other.var() * len(other)) / freedom
    difference = float(one.mean() - other.mean())
    error = math.sqrt(pooled * (1 / len(one) + 1 / len(other)))
    rounding = 1e-12 * max(abs(float(one.mean())), abs(float(other.mean())))
    if error <= rounding:
        return 1.0 if abs(difference) <= rounding else 0.0
    return float(2 * t.sf(abs(difference) / error, freedom))


def _point(values: Values, splits: Sequence[int], place: int) -> ChangePoint:
    """One of the splits, tested between its neighbours."""
    edges = [0, *splits, len(values)]
    before, after = values[edges[place] : edges[place + 1]], values[edges[place + 1] : edges[place + 2]]
    return ChangePoint(splits[place], float(before.mean()), float(after.mean()), student(before, after))

"""Critical values: how many standard errors a difference from the best of several points has to exceed."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

POWER = 0.9
"""How often a difference that "would have been found" is found."""


def step_down(statistics: Mapping[int, float], freedom: float, alpha: float) -> dict[int, float]:
    """Point -> what its difference from the best, in standard errors, has to exceed.

    The largest has to exceed the range of all points; once it does, the next one that of the others, until one does
    not: at the levels of Ryan (1960), Einot and Gabriel (1975) and Welsch (1977), so that some equal point is called
    worse with at most `alpha`.
    """
    family = len(statistics) + 1
    left, critical, stopped = family, of_range(family, freedom, alpha), False
    found = {}
    for point in sorted(statistics, key=lambda one: -statistics[one]):
        if not stopped and statistics[point] <= critical:
            critical = ryan(left, family, freedom, alpha)
            stopped = statistics[point] <= critical
        found[point] = critical
        left -= 1
    return found


def ryan(left: int, family: int, freedom: float, alpha: float) -> float:
    """The critical value for the range of the `left` points that are not told from the best yet, of `family`."""
    if left == family:
        return of_range(family, freedom, alpha)
    fewer = min(left, family - 2)
    critical = of_range(fewer, freedom, 1 - (1 - alpha) ** (fewer / family)) if fewer > 1 else 0.0
    return max(critical, of_range(left, freedom, alpha)) if left == family - 1 else critical


@functools.cache
def of_range(family: int, freedom: float, alpha: float) -> float:
    """The standard errors that the largest difference among equal points exceeds with probability `alpha`."""
    if math.isinf(freedom):
        return _isf_of_normal_range(family, alpha) / math.sqrt(2)
    from scipy.stats import studentized_range  # a second's import, which a study with one seed does without

    return float(studentized_range.isf(alpha, family, freedom) / math.sqrt(2))


def _isf_of_normal_range(family: int, alpha: float) -> float:
    """What the range of `family` standard normal numbers exceeds with probability `alpha`, to six digits.

    P(range <= q) = family * integral of phi(z) (Phi(z) - Phi(z - q))^(family - 1) dz (Tippett 1925), halved by halves.
    """
    z = np.linspace(-9, 9, 721)
    normal = NormalDist()
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([normal.cdf(x) for x in z])
    low, high = 0.0, 20.0
    while high - low > 1e-6:
        q = (low + high) / 2
        inside = below - np.array([normal.cdf(x - q) for x in z])
        covered = family * float((density * inside ** (family - 1)).sum()) * float(z[1] - z[0])
        low, high = (q, high) if 1 - covered > alpha else (low, q)
    return high


def quantile(freedom: float) -> float:
    """The standard errors by which a true difference found with probability POWER exceeds the critical one."""
    if math.isinf(freedom):
        return NormalDist().inv_cdf(POWER)
    from scipy.stats import t

    return float(t.ppf(POWER, freedom))

"""Is a commit as good as GOOD or as bad as BAD? Decided seed by seed, with as few seeds as it takes; numbers only.

Wald's sequential probability ratio test (1945; Sequential Analysis, 1947, chapter 3) of two normal means with a known
deviation: each seed's difference to GOOD, log(loss / loss of GOOD at that seed), is either around 0 or around BAD's.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sweeplora.report.statistics import paired_t

Kind = Literal["good", "bad", "open"]

ERROR = 0.01
"""The chance to take a good commit for a bad one, and a bad one for a good one."""

_FEWEST = 2
"""No commit is judged by one seed: the deviation counts as at least what lets two seeds decide."""


class Scale(NamedTuple):
    """What tells good from bad: BAD's mean difference, and the standard deviation of a seed's difference."""

    effect: float
    deviation: float


def scale_of(differences: Sequence[float]) -> Scale | None:
    """The scale from BAD's differences over at least two seeds; None where BAD is not worse with p < 0.05.

    BAD and GOOD see the same seeds, so where only code differs the differences are far less noisy than the losses. The
    deviation is BAD's own, but at least as large as makes one seed at the expected place undecided.
    """
    if any(math.isinf(value) for value in differences):  # it diverged
        finite = [value for value in differences if math.isfinite(value)]
        effect = max([1.0, *finite])
        return Scale(effect, _least_deviation(effect))
    effect = statistics.fmean(differences)
    if effect <= 0 or paired_t(differences) >= 0.05:
        return None
    return Scale(effect, max(statistics.stdev(differences), _least_deviation(effect)))


def _least_deviation(effect: float) -> float:
    """The deviation with which a seed right at 0 or at the effect leaves the test just open, and a second decides."""
    return effect / math.sqrt(2 * _threshold()) * 1.01


def _threshold() -> float:
    return math.log((1 - ERROR) / ERROR)


def evidence(differences: Sequence[float], scale: Scale) -> float:
    """The log likelihood ratio of bad over good."""
    total = 0.0
    for value in differences:
        if math.isinf(value):
            return math.inf
        total += scale.effect * (value - scale.effect / 2) / scale.deviation**2
    return total


def kind_of(differences: Sequence[float], scale: Scale) -> Kind:
    """Good or bad if the seeds so far decide, else open; a training that diverged is bad at once."""
    found = evidence(differences, scale)
    if math.isinf(found):
        return "bad"
    if len(differences) < _FEWEST or abs(found) < _threshold():
        return "open"
    return "bad" if found > 0 else "good"


def step_p(before: Sequence[float], after: Sequence[float]) -> float:
    """The one-sided p of the paired t test that `after` is not worse than `before`, over the seeds of both.

    Each: differences to GOOD by seed. 0 for seeds that diverged only after.
    """
    pairs = list(zip(before, after, strict=True))
    if any(math.isinf(later) and math.isfinite(earlier) for earlier, later in pairs):
        return 0.0
    return paired_t([later - earlier for earlier, later in pairs])

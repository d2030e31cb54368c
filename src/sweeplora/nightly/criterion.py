"""What a night found: one criterion for each thing it judged, and the verdict and exit code that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How one criterion, or a whole night, came out."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    IMPROVED = "IMPROVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INFRA = "INFRA"
    NO_BASELINE = "NO_BASELINE"


_WORST_FIRST = (
    Verdict.REGRESSED,
    Verdict.INFRA,
    Verdict.NO_BASELINE,
    Verdict.INCONCLUSIVE,
    Verdict.IMPROVED,
    Verdict.PASS,
)
WELL, WORSE, UNKNOWN = 0, 1, 2


@dataclass(frozen=True)
class Criterion:
    """One thing that was judged, with its numbers; a number that does not exist is None.

    `baseline`, `now`: means over the seeds, in the metric's own unit. `effect`: the relative change, 0.02 for 2 % worse
    (worse is positive, whatever the metric), with `interval`, where 90 % of such intervals hold the true one. `p`: one-
    sided, that it is not worse; `corrected`: for the number of comparisons and looks. `limit`: the least effect that
    counts. `seeds`: trainings on each side. `sentence`: all of it for people.
    """

    configuration: str
    metric: str
    verdict: Verdict
    sentence: str
    baseline: float | None = None
    now: float | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    corrected: float | None = None
    limit: float | None = None
    seeds: int = 0

    def __post_init__(self) -> None:
        """A number that is not finite never passes."""
        numbers = (self.baseline, self.now, self.effect, self.p, self.corrected, *(self.interval or ()))
        passes = self.verdict in (Verdict.PASS, Verdict.IMPROVED)
        assert not passes or all(math.isfinite(one) for one in numbers if one is not None), self

    @property
    def line(self) -> str:
        """`REGRESSED     locon val/loss: ...`."""
        return f"{self.verdict.value:<13} {self.configuration} {self.metric}: {self.sentence}"


def verdict_of(criteria: Iterable[Criterion]) -> Verdict:
    """The verdict of all together: that of the worst; INFRA for none at all, since nothing was measured."""
    found = {criterion.verdict for criterion in criteria}
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.INFRA)


def exit_code(verdict: Verdict) -> int:
    """0 nothing is worse, 1 something regressed, 2 it cannot be said."""
    if verdict in (Verdict.PASS, Verdict.IMPROVED):
        return WELL
    return WORSE if verdict is Verdict.REGRESSED else UNKNOWN


def worst_first(criteria: Iterable[Criterion]) -> list[Criterion]:
    """For people: what needs them first, otherwise in the order given."""
    return sorted(criteria, key=lambda one: _WORST_FIRST.index(one.verdict))

"""pruner=rungs: which trials go on from a common early point; numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from annotated_types import Gt, Lt

from sweeplora.report.statistics import holm, paired_t


@dataclass(frozen=True)
class Rungs:
    """Target of conf/pruner/rungs.yaml.

    Ranking is by the objective itself and the test by its differences: on real trainings the ratio of losses per triple
    ranks otherwise at an early step (triples of little noise then weigh as much as the others), and loses the best.
    """

    at: Annotated[float, Gt(0), Lt(1)]
    keep: Annotated[float, Gt(0), Lt(1)]
    alpha: Annotated[float, Gt(0), Lt(1)]

    def step(self, steps: int) -> int:
        """The optimizer step from which on a trial of so many steps is at its rung."""
        return max(1, math.ceil(self.at * steps))

    def going_on(
        self, reached: Sequence[Reached], values: Mapping[int, Hashable] | None = None, most: int = 0
    ) -> list[int]:
        """The numbers of the trials that go on to the end, best first: at least one.

        `values`, `most`: what is compared afterwards, see `best_of_each`; those trials go on beside the best share.
        """
        count = max(1, math.floor(self.keep * len(reached)))
        order = [one.number for one in ranked(reached)]
        kept = {*order[:count], *best_of_each(reached, values or {}, most)}
        return [number for number in order if number in kept]

    def hopeless(self, reached: Sequence[Reached]) -> set[int]:
        """The trials that are significantly worse than the best one."""
        best, *others = ranked(reached)
        values = holm([worse(best, other) for other in others])
        return {other.number for other, value in zip(others, values, strict=True) if value < self.alpha}


class Reached(NamedTuple):
    """A trial at its rung: its number, the objective there, and the loss of each validation triple by name."""

    number: int
    value: float
    losses: Mapping[str, float]


def ranked(reached: Sequence[Reached]) -> list[Reached]:
    """Best first."""
    return sorted(reached, key=lambda one: (one.value, one.number))


def best_of_each(reached: Sequence[Reached], values: Mapping[int, Hashable], most: int) -> list[int]:
    """The best trial of each value, of the `most` values whose best trials are best; numbers, best first.

    `values`: by a trial's number; trials that have none are left out.
    """
    found: dict[Hashable, int] = {}
    for one in ranked(reached):
        if one.number in values:
            found.setdefault(values[one.number], one.number)
    return list(found.values())[:most]


def worse(best: Reached, other: Reached) -> float:
    """The one-sided p of the paired t test that `other` has no higher mean loss; 1 without common triples."""
    shared = best.losses.keys() & other.losses.keys()
    if len(shared) < 2:
        return 1.0
    return paired_t([other.losses[name] - best.losses[name] for name in sorted(shared)])


def rungs_of(pruner: Mapping[str, Any]) -> Rungs | None:
    """The rungs that a pruner's configuration describes; None for a pruner of Optuna's."""
    if pruner["_target_"] != f"{Rungs.__module__}.{Rungs.__qualname__}":
        return None
    return Rungs(**{key: value for key, value in pruner.items() if not key.startswith("_")})

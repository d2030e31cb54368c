"""What a person's comparisons say about a study's trials: strengths, how sure they are, and what is still missing."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeplora.report.bradley_terry import Outcome, Strengths, fit
from sweeplora.rundir.preferences import PREFERENCES, Judgement, Picked, read_judgements

ENOUGH = 3
"""Comparisons of every trial that a search waits for; fewer where there are fewer others."""

_95 = 1.959964
_RESULTS: dict[Picked, int] = {"left": 1, "right": -1, "tie": 0}


@dataclass(frozen=True)
class Preferred:
    """How a trial stands: `share` of decided comparisons with an average trial that it wins, with a 95 % interval.

    `chance`: the probability that it is the best of all; `comparisons`: how many it was in.
    """

    share: float
    low: float
    high: float
    chance: float
    comparisons: int


@dataclass(frozen=True)
class Preferences:
    """The complete trials of a study (their numbers, in the order of `strengths`) and all comparisons between them."""

    numbers: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    strengths: Strengths
    of: Mapping[int, Preferred]
    """Number of a trial -> how it stands, for the trials that were in a comparison."""

    @property
    def favourite(self) -> int | None:
        """The trial with the greatest share; None without comparisons."""
        return max(self.of, key=lambda number: (self.of[number].share, -number), default=None)

    def better(self, one: int, other: int) -> float:
        """The probability that trial `one` is preferred to trial `other`, given all comparisons."""
        mean, error = self.strengths.difference(self.numbers.index(one), self.numbers.index(other))
        return 0.5 * math.erfc(-mean / error / math.sqrt(2)) if error > 0 else 0.5

    def lacking(self) -> list[int]:
        """The trials that were not compared often enough, or not connected with the first one by comparisons."""
        needed = min(ENOUGH, len(self.numbers) - 1)
        reached = _connected(len(self.numbers), self.outcomes)
        return [
            number
            for place, number in enumerate(self.numbers)
            if place not in reached or number not in self.of or self.of[number].comparisons < needed
        ]


def read_preferences(study: Path, numbers: Mapping[str, int]) -> Preferences | None:
    """What was compared among some trials, run folder's name -> number; None if no comparison of a study stands."""
    try:
        status = (study / PREFERENCES).stat()
    except OSError:
        return None
    found = _read(study, (status.st_mtime_ns, status.st_size), tuple(sorted(numbers.items(), key=lambda one: one[1])))
    return found if found.outcomes else None


@functools.lru_cache(maxsize=8)
def _read(study: Path, version: tuple[int, int], numbers: tuple[tuple[str, int], ...]) -> Preferences:
    return preferences_of(read_judgements(study), dict(numbers))


def preferences_of(judgements: Sequence[Judgement], numbers: Mapping[str, int]) -> Preferences:
    """The strengths of the trials in `numbers` (run folder's name -> number); comparisons with others do not count."""
    places = {name: place for place, name in enumerate(numbers)}
    outcomes = tuple(
        Outcome(places[one.left], places[one.right], _RESULTS[one.picked])
        for one in judgements
        if one.left in places and one.right in places
    )
    strengths = fit(len(places), outcomes)
    chances = strengths.best_chances() if outcomes else ()
    counts = [0] * len(places)
    for outcome in outcomes:
        counts[outcome.first] += 1
        counts[outcome.second] += 1
    found = {}
    for place, number in enumerate(numbers.values()):
        if counts[place]:
            mean, error = strengths.against_average(place)
            share, low, high = (_share(mean + sign * _95 * error) for sign in (0, -1, 1))
            found[number] = Preferred(share, low, high, float(chances[place]), counts[place])
    return Preferences(tuple(numbers.values()), outcomes, strengths, found)


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _connected(num: int, outcomes: Sequence[Outcome]) -> set[int]:
    """The items that comparisons connect with the largest group of items."""
    group = list(range(num))
    for outcome in outcomes:
        one, other = group[outcome.first], group[outcome.second]
        if one != other:
            group = [one if of == other else of for of in group]
    largest = max(group, key=group.count, default=0)
    return {place for place, of in enumerate(group) if of == largest}

"""How far up a drawing of losses reaches, so that trials that diverged do not flatten the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import quantiles

from sweeplora.report.courses import Course
from sweeplora.report.leaderboard import Leaderboard

_ROOM_OVER_BASE = 3.0
"""How many times as far above the lowest value as the base model's a value may lie and still be drawn to scale."""

_ROOM_OVER_QUARTILE = 10.0
"""The same over the first quartile, where no base model is known: evenly spread values reach 4, outliers far more."""

_LEAST_SPAN = 0.1
"""Of the lowest value: values that hardly differ are no reason to call the others outliers."""


def limit_of(values: Iterable[float], base: float | None = None) -> float | None:
    """The highest value that a drawing shows to scale; None if all of the finite ones fit.

    `base` is what the base model gave, which a training is meant to get below; without one the lower values decide.
    What lies above the limit, is infinite or NaN stands at the drawing's edge.
    """
    known = _finite(values)
    if not known:
        return None
    if base is None or not math.isfinite(base) or base <= known[0]:
        return _within(known, _reach_of_quartile(known))
    return _within(known, _reach_of_base(known[0], base))


def limits_of_objectives(board: Leaderboard) -> list[float | None]:
    """The limit of each objective over the complete trials."""
    return [
        limit_of((e.values[place] for e in board.entries if e.values), board.base if name == "val/loss" else None)
        for place, name in enumerate(board.objectives)
    ]


def limits_of(courses: Iterable[Mapping[str, Course]], keys: Sequence[str]) -> dict[str, float | None]:
    """The limit of each metric over the steps of several trials."""
    read = list(courses)
    return {key: limit_of_courses([course[key] for course in read if course.get(key)]) for key in keys}


def limit_of_courses(courses: Sequence[Course]) -> float | None:
    """The limit of a metric over the steps of one or several trials, measured against where most of them began.

    A training loss is noise: it may as well have begun low, so its lower quarter counts too.
    """
    known = _finite(value for course in courses for _, value in course)
    first = _finite(course[0][1] for course in courses if course)
    if not known or not first:
        return None
    began = first[len(first) // 2]
    return _within(known, max(_reach_of_base(known[0], began), _reach_of_quartile(known)))


def _finite(values: Iterable[float]) -> list[float]:
    return sorted(value for value in values if math.isfinite(value))


def _reach_of_base(low: float, base: float) -> float:
    return low + _ROOM_OVER_BASE * max(base - low, _LEAST_SPAN * abs(low))


def _reach_of_quartile(known: Sequence[float]) -> float:
    quartile = quantiles(known, n=4, method="inclusive")[0] if len(known) > 1 else known[0]
    return known[0] + _ROOM_OVER_QUARTILE * max(quartile - known[0], _LEAST_SPAN * abs(known[0]))


def _within(known: Sequence[float], reach: float) -> float | None:
    """The greatest of the values within reach, at least a little above the lowest; None if all of them are.

    Where the lower ones are all zero nothing tells how far is far.
    """
    if known[-1] <= reach or reach == known[0]:
        return None
    highest = [value for value in known if value <= reach][-1]
    return max(highest, known[0] + _LEAST_SPAN * abs(known[0]))

"""A metric over the steps, drawn with letters for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

Place = Callable[[float, float], tuple[int, int]]
"""(step, value) -> (row, column) in the drawing."""

_LABEL = 9
_MARK, _LINE = "*", "."


def curve(points: Mapping[int, float], title: str, width: int = 80, height: int = 12) -> list[str]:
    """`points` (step -> value) as lines of at most `width` letters: a title, `height` rows and the axis of steps.

    Measured points are `*`, the straight lines between them `.`. Values that are not finite are left out.
    """
    known = {step: value for step, value in sorted(points.items()) if math.isfinite(value)}
    if not known:
        return [f"{title}: no value yet"]
    inner = width - _LABEL - 2
    low, high = min(known.values()), max(known.values())
    first, last = min(known), max(known)
    rows = [[" "] * inner for _ in range(height)]

    def place(step: float, value: float) -> tuple[int, int]:
        across = 0.0 if last == first else (step - first) / (last - first)
        up = 0.5 if high == low else (value - low) / (high - low)
        return round((1 - up) * (height - 1)), round(across * (inner - 1))

    for row, column in _between(known, place):
        rows[row][column] = _LINE
    for step, value in known.items():
        row, column = place(step, value)
        rows[row][column] = _MARK
    labels = {0: f"{high:.4g}", height - 1: f"{low:.4g}"} if high > low else {round(0.5 * (height - 1)): f"{high:.4g}"}
    body = [f"{labels.get(row, ''):>{_LABEL}} |{''.join(cells)}".rstrip() for row, cells in enumerate(rows)]
    axis = f"{first}{last:>{max(1, inner - len(str(first)))}}"
    return [title, *body, f"{'':>{_LABEL}} +{'-' * inner}", f"{'step':>{_LABEL}}  {axis}".rstrip()]


def _between(known: Mapping[int, float], place: Place) -> list[tuple[int, int]]:
    """The cells that the lines between neighbouring points pass through, one for each column."""
    cells, pairs = [], list(known.items())
    for (step, value), (following, next_value) in pairwise(pairs):
        start, end = place(step, value)[1], place(following, next_value)[1]
        for column in range(start + 1, end):
            share = (column - start) / (end - start)
            cells.append((place(step, value + share * (next_value - value))[0], column))
    return cells

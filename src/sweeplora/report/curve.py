"""A metric over the steps, drawn with letters for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

Place = Callable[[float, float], tuple[int, int]]
"""(step, value) -> (row, column) in the drawing."""

_WIDTH, _LEAST, _HEIGHT, _LABEL = 80, 30, 12, 9
_MARK, _LINE = "*", "."
_ABOVE, _NO_NUMBER = "^", "!"


def curve(points: Mapping[int, float], title: str, limit: float | None = None, width: int | None = None) -> list[str]:
    """`points` (step -> value) as lines: a title, twelve rows and the axis of steps.

    Lines have at most 80 letters, and at most `width`, but not less than 30. Measured points are `*`, the straight
    lines between them `.`. Values above `limit` are `^` in the first row, those that are infinite or NaN `!`; a last
    line says so.
    """
    known = {step: value for step, value in sorted(points.items()) if math.isfinite(value)}
    if not known:
        return [f"{title}: {'no finite value' if points else 'no value yet'}"]
    inner = max(_LEAST, min(_WIDTH, width or _WIDTH)) - _LABEL - 2
    low, high = min(known.values()), max(known.values()) if limit is None else limit
    first, last = min(points), max(points)
    rows = [[" "] * inner for _ in range(_HEIGHT)]

    def place(step: float, value: float) -> tuple[int, int]:
        across = 0.0 if last == first else (step - first) / (last - first)
        up = 0.5 if high == low else min(1.0, (value - low) / (high - low))
        return round((1 - up) * (_HEIGHT - 1)), round(across * (inner - 1))

    for row, column in _between(known, place):
        rows[row][column] = _LINE
    for step, value in known.items():
        row, column = place(step, value)
        rows[row][column] = _ABOVE if value > high else _MARK
    for step in points.keys() - known.keys():
        rows[0][place(step, high)[1]] = _NO_NUMBER
    labels = (
        {0: f"{high:.4g}", _HEIGHT - 1: f"{low:.4g}"} if high > low else {round(0.5 * (_HEIGHT - 1)): f"{high:.4g}"}
    )
    body = [f"{labels.get(row, ''):>{_LABEL}} |{''.join(cells)}".rstrip() for row, cells in enumerate(rows)]
    axis = f"{first}{last:>{max(1, inner - len(str(first)))}}"
    below = [f"{'':>{_LABEL}} +{'-' * inner}", f"{'step':>{_LABEL}}  {axis}".rstrip()]
    return [title, *body, *below, *_said_of(points, high)]


def _said_of(points: Mapping[int, float], high: float) -> list[str]:
    """What the marks in the first row stand for."""
    above = [value for value in points.values() if math.isfinite(value) and value > high]
    lost = sum(not math.isfinite(value) for value in points.values())
    told = [f"{_ABOVE} {len(above)} above {high:.4g}, up to {max(above):.4g}"] if above else []
    told += [f"{_NO_NUMBER} {lost} not finite"] if lost else []
    return [f"{'':>{_LABEL}}  {'; '.join(told)}"] if told else []


def _between(known: Mapping[int, float], place: Place) -> list[tuple[int, int]]:
    """The cells that the lines between neighbouring points pass through, one for each column."""
    cells, pairs = [], list(known.items())
    for (step, value), (following, next_value) in pairwise(pairs):
        start, end = place(step, value)[1], place(following, next_value)[1]
        for column in range(start + 1, end):
            share = (column - start) / (end - start)
            cells.append((place(step, value + share * (next_value - value))[0], column))
    return cells

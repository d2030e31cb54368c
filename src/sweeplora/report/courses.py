"""Metrics over the steps, thinned for a drawing: a long training is read in a fraction of the time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from sweeplora.rundir.lines import read_line

MOST_POINTS = 60
_MOST_LINES = 200
"""Of the lines that hold none but metrics of every step, how many are looked at."""

Course = list[tuple[int, float]]
"""(step, value), ascending; where there were more points than are kept, means over neighbours."""


def read_courses(file: Path, keys: Sequence[str]) -> dict[str, Course]:
    """The courses of the named metrics in a metrics.jsonl; values that are not finite are left out."""
    try:
        data = file.read_bytes()
    except OSError:
        return {}
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    every = max(1, len(lines) // _MOST_LINES)
    rare = [f'"{key}"'.encode() for key in keys if "/" in key]  # losses of validation and probe: not of every step
    series: dict[str, dict[int, float]] = {key: {} for key in keys}
    for place, line in enumerate(lines):
        if place % every and not any(key in line for key in rare):
            continue
        step, values = _entry(line)
        for key in keys:
            value = values.get(key)
            if isinstance(value, int | float) and math.isfinite(value):
                series[key][step] = float(value)
    return {key: _thinned(sorted(points.items())) for key, points in series.items() if points}


def _entry(line: bytes) -> tuple[int, dict[str, object]]:
    entry = read_line(line) or {}
    step, values = entry.get("step"), entry.get("values")
    return (step, values) if isinstance(step, int) and isinstance(values, dict) else (0, {})


def _thinned(points: Sequence[tuple[int, float]]) -> Course:
    if len(points) <= MOST_POINTS:
        return list(points)
    bounds = [len(points) * place // MOST_POINTS for place in range(MOST_POINTS + 1)]
    parts = [points[start:end] for start, end in itertools.pairwise(bounds)]
    return [(part[-1][0], fmean(value for _, value in part)) for part in parts]

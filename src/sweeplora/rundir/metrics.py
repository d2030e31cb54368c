"""Append-only metrics: written line by line, followed while they grow."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeGuard

from sweeplora.rundir.lines import LineWriter, intact, read_line, whole_lines

_NUMBER = rb"(?:-?\d+(?:\.\d+)?(?:e[-+]?\d+)?|NaN|-?Infinity)"
_WRITTEN = re.compile(rb'\{"step": \d+, "time": [\d.]+, "values": \{(?:"[^"\\]*+": %s(?:, (?="))?)*+\}\}' % _NUMBER)
"""A line as `MetricsWriter` writes it, without its checksum: told three times as fast as JSON is read, in files of
many megabytes."""


class Point(NamedTuple):
    """One logged number: the `value` of `key` after `step` optimizer steps; `time` in seconds since the epoch."""

    step: int
    key: str
    value: float
    time: float


class MetricsWriter:
    """Appends numbers to `metrics.jsonl`, one line per call, each line in a single write."""

    def __init__(self, path: Path) -> None:
        self._lines = LineWriter(path)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` at `step`; for each (key, step) the last value written counts."""
        self._lines.write({"step": step, "time": round(time.time(), 3), "values": dict(values)})

    def sync(self) -> int:
        """Bring everything written to the disk; returns the file's size in bytes."""
        return self._lines.sync()

    def close(self) -> None:
        """Close the file; everything written is already in it."""
        self._lines.close()


class MetricsTail:
    """Follows a growing `metrics.jsonl`; an incomplete last line is read later, a damaged line is dropped."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self.offset = offset

    def poll(self) -> list[Point]:
        """The points appended since the last call, in file order."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        self.offset += whole
        return [point for line in data[:whole].splitlines() for point in _points(line)]


def _points(line: bytes) -> Iterator[Point]:
    entry = read_line(line) or {}
    step, when, values = entry.get("step"), entry.get("time"), entry.get("values")
    if not (isinstance(step, int) and _is_number(when) and isinstance(values, dict)):
        return
    for key, value in values.items():
        if _is_number(value):
            yield Point(step, key, value, when)


def unread_lines(path: Path) -> list[int]:
    """The numbers, from 1, of the lines that are dropped, or of whose values some are."""
    lines = enumerate(whole_lines(path), 1)
    return [number for number, line in lines if not (_WRITTEN.fullmatch(intact(line) or b"") or _is_read(line))]


def _is_read(line: bytes) -> bool:
    values = (read_line(line) or {}).get("values")
    return isinstance(values, dict) and len(list(_points(line))) == len(values)


def has_logged(
    series: Mapping[str, Mapping[int, float]], step: int, values: Mapping[str, float], measured: Collection[str]
) -> bool:
    """Whether an earlier attempt logged these values at `step`; those of the keys `measured` may be others."""
    return all(
        step in series.get(key, ()) and (key in measured or series[key][step] == value) for key, value in values.items()
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_metrics(path: Path) -> dict[str, dict[int, float]]:
    """All series of a run: key -> {step: value}, steps ascending, with the last value per (key, step)."""
    series: dict[str, dict[int, float]] = {}
    for point in MetricsTail(path).poll():
        series.setdefault(point.key, {})[point.step] = point.value
    return {key: dict(sorted(steps.items())) for key, steps in series.items()}

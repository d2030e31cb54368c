"""How a trial stands in its sweep, as MLflow can sort it: trials that were trained with several seeds first.

MLflow sorts by one key, and the lowest value of one seed is luck. Where the best few of a sweep were trained again, its
list is to open on what the verdict calls the best, as the leaderboard does.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

from sweeplora.record.store.subject import STATE, Subject
from sweeplora.report.leaderboard import Entry, Leaderboard
from sweeplora.report.objectives import PREFERENCE
from sweeplora.rundir.metrics import Point

ORDER = "sweeplora.order"
"""The tag of a complete trial whose text sorts as its place in the leaderboard does."""

MEAN = "mean/"
"""Begins the metric that is the objective's mean over a trial's seeds, in a sweep with further ones; its step is their
number."""


@dataclass(frozen=True)
class Standing:
    """`tags`: what the trial's run says; `points`: the mean over its seeds; `mark` changes with what is to be sent."""

    tags: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    mark: str = ""


def standings(board: Leaderboard) -> dict[int, Standing]:
    """Number of each complete trial -> how it stands; none of a sweep that has no single measured objective."""
    if len(board.objectives) != 1 or board.objectives == (PREFERENCE,):
        return {}
    marks = any(again.values for repeats in board.repeats.values() for again in repeats)
    return {entry.number: _standing(board, entry, marks) for entry in board.entries if entry.values}


def with_standing(subject: Subject, standing: Standing) -> Subject:
    """The subject of a trial with the tags of its standing."""
    return replace(subject, tags={**subject.tags, **standing.tags})


def _standing(board: Leaderboard, entry: Entry, marks: bool) -> Standing:
    again = [one for one in board.repeats.get(entry.number, ()) if one.values]
    points = _means(board.objectives[0], entry, again)
    if not again:
        order = f"1 {_sortable(entry.values[0])}"
        return Standing({ORDER: order}, tuple(points), order) if marks else Standing({ORDER: order})
    order = f"0 {_sortable(points[-1].value)}"
    return Standing({ORDER: order, STATE: f"complete x{len(points)}"}, tuple(points), f"{order} {len(points)}")


def _means(objective: str, entry: Entry, again: list[Entry]) -> list[Point]:
    """The mean over the trial's own seed and further ones, in the order they ended; the step is their number."""
    later = sorted(again, key=lambda one: (one.ended or 0.0, one.replicate or 0))
    values, points = [], []
    for one in (entry, *later):
        values.append(one.own[0])
        points.append(Point(len(values), f"{MEAN}{objective}", fmean(values), one.ended or entry.ended or 0.0))
    return points


def _sortable(value: float) -> str:
    """Sixteen hex digits whose order as text is the order of the numbers."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"

"""The plots that suit a study, drawn from its run folders once it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweeplora.report import figures
from sweeplora.report.axes import Axis
from sweeplora.report.figures import Mark
from sweeplora.report.leaderboard import Entry, Leaderboard, front
from sweeplora.report.limits import limits_of_objectives
from sweeplora.report.maps import heat_map, map_of_best
from sweeplora.report.verdict import best_by_value
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics

_ENOUGH_FOR_IMPORTANCE = 8
_MOST_CELLS_A_SIDE = 12
_MOST_PANELS = 6
_DPI = 110


def draw_plots(board: Leaderboard, folder: Path, axes: tuple[Axis, Axis] | None = None) -> list[Path]:
    """Draw what suits the trials of a leaderboard into `folder`/<name>.png; returns the files.

    `axes`: the rows and the columns of a map where more than two keys were searched, or numbers too many for it.
    """
    entries = sorted(board.entries, key=lambda entry: entry.number)
    complete = [_mark(entry) for entry in entries if entry.values]
    if len(complete) < 2:
        return []
    drawn: dict[str, Figure] = {}
    limits = limits_of_objectives(board)
    if len(board.objectives) == 1:
        pruned = [mark for entry in entries if (mark := _pruned(entry, board.objectives[0])) is not None]
        diverged = [Mark(e.number, (math.inf,), e.params) for e in entries if e.verdict == "diverged"]
        drawn = _of_one(complete, [*pruned, *diverged], board.objectives[0], limits[0])
        if axes is not None and "map" not in drawn and all(len(set(axis.places.values())) > 1 for axis in axes):
            drawn["map"] = _map(axes, [*complete, *diverged], board.objectives[0], limits[0])
        drawn |= _of_each_value(board, complete)
    elif len(board.objectives) == 2:
        best = [_mark(entry) for entry in front(board)]
        names = (board.objectives[0], board.objectives[1])
        drawn = {"front": figures.front(complete, best, names, (limits[0], limits[1]))}
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(figure, folder / f"{name}.png") for name, figure in drawn.items()]


def _of_one(complete: Sequence[Mark], others: Sequence[Mark], name: str, limit: float | None) -> dict[str, Figure]:
    """The figures of one objective; `others`: pruned trials, and those that diverged."""
    ended = sorted([*complete, *(mark for mark in others if not mark.pruned)], key=lambda mark: mark.number)
    varying = _varying(ended)
    shared = [key for key in varying if all(key in mark.params for mark in ended)]
    drawn = {"history": figures.history(sorted([*complete, *others], key=lambda mark: mark.number), name, limit)}
    if varying:
        drawn["slices"] = figures.slices(ended, varying[:_MOST_PANELS], name, limit)
    if len(varying) == 2 and varying == shared and all(_fits_a_map(ended, key) for key in varying):
        drawn["map"] = heat_map(ended, (varying[0], varying[1]), name, limit)
    held = figures.held_to(complete, limit)
    if len(shared) >= 2 and len(held) >= _ENOUGH_FOR_IMPORTANCE and len({m.values for m in held}) > 1:
        drawn["importances"] = figures.importances({key: figures.explained(held, key) for key in shared}, name)
    return drawn


def _of_each_value(board: Leaderboard, complete: Sequence[Mark]) -> dict[str, Figure]:
    """`best_<key>` for the keys with few values, where another key varies too."""
    if len(_varying(complete)) < 2:
        return {}
    again = {entry.number: board.measured(entry) for entry in board.entries if entry.values}
    drawn = {}
    for key in list(best_by_value(board))[:_MOST_PANELS]:
        tried = [entry.params[key] for entry in board.entries if key in entry.params]  # those that stopped early too
        if len(set(tried)) < len(tried) / 2:
            having = [mark for mark in complete if key in mark.params]
            drawn[f"best_{key.rpartition('.')[2]}"] = figures.best_of_each(having, key, again, board.objectives[0])
    return drawn


def _map(axes: tuple[Axis, Axis], marks: Sequence[Mark], name: str, limit: float | None) -> Figure:
    """The objective over the axes of the contact sheets."""
    rows, columns = axes
    cells: dict[tuple[int, int], list[float]] = {}
    for mark in marks:
        if mark.number in rows.places and mark.number in columns.places:
            cells.setdefault((rows.places[mark.number], columns.places[mark.number]), []).append(mark.values[0])
    named = [[label.removeprefix(f"{axis.key.rpartition('.')[2]} ") for label in axis.labels] for axis in axes]
    return map_of_best(cells, (named[0], named[1]), (rows.key, columns.key), name, limit)


def _mark(entry: Entry) -> Mark:
    return Mark(entry.number, entry.values, entry.params)


def _pruned(entry: Entry, objective: str) -> Mark | None:
    """A pruned trial at its last finite value, None if it has none."""
    if entry.verdict != "pruned":
        return None
    series = read_metrics(RunDir(entry.folder).metrics).get(objective, {})
    values = [value for step, value in series.items() if step > 0 and math.isfinite(value)]
    return Mark(entry.number, (values[-1],), entry.params, pruned=True) if values else None


def _varying(marks: Sequence[Mark]) -> list[str]:
    keys = dict.fromkeys(key for mark in marks for key in mark.params)
    return [key for key in keys if len({mark.params[key] for mark in marks if key in mark.params}) > 1]


def _fits_a_map(marks: Sequence[Mark], key: str) -> bool:
    return len({mark.params[key] for mark in marks}) <= _MOST_CELLS_A_SIDE


def _save(figure: Figure, target: Path) -> Path:
    data = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(data, dpi=_DPI, format="png")
    write_whole(target, data.getvalue())
    return target

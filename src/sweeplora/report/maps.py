"""Maps of a study: the objective over two searched keys, in coloured cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure

from sweeplora.report.figures import Mark, name_places, order, value_text
from sweeplora.rundir.record import Scalar

_CELL = 1.1
"""Inches of a cell's width."""


def heat_map(marks: Sequence[Mark], keys: tuple[str, str], name: str, limit: float | None = None) -> Figure:
    """The objective over two searched keys: one cell per pair of values, annotated with its mean.

    Trials that diverged count in no mean; a cell that holds no other says so. Colours end at `limit`.
    """
    columns, rows = (sorted({mark.params[key] for mark in marks}, key=order) for key in keys)
    cells: dict[tuple[int, int], list[float]] = {}
    for mark in marks:
        place = (rows.index(mark.params[keys[1]]), columns.index(mark.params[keys[0]]))
        cells.setdefault(place, []).append(mark.values[0])
    finite = {place: [value for value in values if math.isfinite(value)] for place, values in cells.items()}
    means = {place: fmean(values) for place, values in finite.items() if values}
    texts = {}
    for place, values in cells.items():
        lost = len(values) - len(finite[place])
        told = f"{means[place]:.4g}" + (f"\n({lost} diverged)" if lost else "") if place in means else "diverged"
        texts[place] = told
    return _map(means, texts, (rows, columns), (keys[1], keys[0]), (name, limit))


def map_of_best(
    cells: Mapping[tuple[int, int], Sequence[float]],
    labels: tuple[Sequence[str], Sequence[str]],
    keys: tuple[str, str],
    name: str,
    limit: float | None = None,
) -> Figure:
    """The objective over two keys, of which each cell holds trials that differ in other things: the best of them.

    `cells`: (row, column) -> the values of its trials, infinite for those that diverged; `labels` and `keys` are those
    of the rows and of the columns.
    """
    best = {place: min(values) for place, values in cells.items()}
    finite = {place: value for place, value in best.items() if math.isfinite(value)}
    texts = {}
    for place, values in cells.items():
        value = f"{finite[place]:.4g}" if place in finite else "diverged"
        texts[place] = f"{value}\nof {len(values)}" if len(values) > 1 else value
    figure = _map(finite, texts, labels, keys, (name, limit))
    figure.suptitle("the best trial of each cell, whatever its other values", fontsize=10)
    return figure


def _map(
    values: Mapping[tuple[int, int], float],
    texts: Mapping[tuple[int, int], str],
    places: tuple[Sequence[Scalar], Sequence[Scalar]],
    keys: tuple[str, str],
    objective: tuple[str, float | None],
) -> Figure:
    """Coloured cells (row, column) with texts; `places` and `keys` are those of the rows and of the columns.

    `objective`: its name, and where its colours end.
    """
    (rows, columns), (name, limit) = places, objective
    grid = [[values.get((row, column), math.nan) for column in range(len(columns))] for row in range(len(rows))]
    figure = Figure(figsize=(2.4 + _CELL * len(columns), 1.6 + 0.8 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(grid, cmap="viridis_r", origin="lower", aspect="auto", vmax=limit)
    low, high = image.get_clim()
    for (row, column), told in texts.items():
        ink = "w" if values.get((row, column), -math.inf) >= (low + high) / 2 else "k"
        axes.text(column, row, told, ha="center", va="center", color=ink)
    name_places(axes, columns, _CELL * len(columns))
    axes.set_yticks(range(len(rows)), [value_text(value) for value in rows])
    axes.set(xlabel=keys[1], ylabel=keys[0])
    figure.colorbar(image, ax=axes, label=name, extend="neither" if limit is None else "max")
    return figure

"""The figures of a study, each drawn from plain numbers: history, slices, importances, Pareto front."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sweeplora.rundir.record import Scalar

_POINT, _BEST, _PRUNED, _BEYOND = "#2a6f97", "#d1495b", "#9a9a9a", "#a33b20"

_PANEL = 2.8
"""Inches of a panel of slices."""
_LETTER = 0.09
"""Inches of a letter of a tick's label."""


class Mark(NamedTuple):
    """One trial: its number, its value per objective, its searched values, and whether it was pruned.

    A trial that diverged has infinite values.
    """

    number: int
    values: tuple[float, ...]
    params: Mapping[str, Scalar]
    pruned: bool = False


def held_to(marks: Sequence[Mark], limit: float | None) -> list[Mark]:
    """The marks with their first value at most `limit`: one that is far above the others would outweigh them."""
    if limit is None:
        return list(marks)
    return [mark._replace(values=(min(mark.values[0], limit), *mark.values[1:])) for mark in marks]


def history(marks: Sequence[Mark], name: str, limit: float | None = None) -> Figure:
    """The objective by trial number, with the best so far; pruned trials are shown at their last value.

    Trials above `limit` and those that diverged stand at the upper edge, here and in the other figures.
    """
    figure, axes = _blank(7.0, 4.0)
    complete = [mark for mark in marks if not mark.pruned and math.isfinite(mark.values[0])]
    best = [min(mark.values[0] for mark in complete[: end + 1]) for end in range(len(complete))]
    axes.step([m.number for m in complete], best, where="post", color=_BEST, label="best so far")
    shown, beyond = _parted(marks, limit)
    points = [(mark.number, mark.values[0]) for mark in shown if not mark.pruned]
    axes.scatter(*_columns(points), color=_POINT, label="complete")
    if pruned := [(mark.number, mark.values[0]) for mark in shown if mark.pruned]:
        axes.scatter(*_columns(pruned), color=_PRUNED, marker="x", label="pruned, last value")
    _at_the_edge(axes, [mark.number for mark in beyond], shown, _said_of(beyond, limit))
    axes.set(xlabel="trial", ylabel=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def slices(marks: Sequence[Mark], keys: Sequence[str], name: str, limit: float | None = None) -> Figure:
    """The objective over each searched key, one panel per key; on a log axis if the values span a decade."""
    shown, beyond = _parted(marks, limit)
    figure = Figure(figsize=(1.0 + _PANEL * len(keys), 3.9 if beyond else 3.6), layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        known = sorted({mark.params[key] for mark in marks if key in mark.params}, key=order)
        places: dict[Scalar, float]
        if _is_continuous(known):
            places = {value: float(value or 0) for value in known}
            if min(places.values()) > 0 and max(places.values()) / min(places.values()) > 10:
                axes.set_xscale("log")
            else:
                axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        else:
            places = {value: float(place) for place, value in enumerate(known)}
            name_places(axes, known, _PANEL)
        points = [(places[mark.params[key]], mark.values[0]) for mark in shown if key in mark.params]
        axes.scatter(*_columns(points), color=_POINT, alpha=0.8)
        _at_the_edge(axes, [places[m.params[key]] for m in beyond if key in m.params], shown, _said_of(beyond, limit))
        axes.set_xlabel(key)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(name)
    if beyond:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure


def best_of_each(marks: Sequence[Mark], key: str, again: Mapping[int, Sequence[float]], name: str) -> Figure:
    """Every trial over the values of a key, and the best trial of each value, joined.

    `again`: the values of a trial at all its seeds; where there are several, their mean with its standard error counts.
    """
    known = sorted({mark.params[key] for mark in marks}, key=order)
    places = {value: place for place, value in enumerate(known)}
    figure, axes = _blank(5.5, 4.0)
    axes.scatter([places[m.params[key]] for m in marks], [m.values[0] for m in marks], color=_PRUNED, label="trials")
    seen = {mark.number: list(again.get(mark.number, ())) or [mark.values[0]] for mark in marks}
    means, errors = [], []
    for value in known:
        best = min((m for m in marks if m.params[key] == value), key=lambda m: (len(seen[m.number]) < 2, m.values[0]))
        values = seen[best.number]
        means.append(fmean(values))
        errors.append(stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0)
    label = "best of each, mean and standard error over seeds" if any(errors) else "best of each"
    axes.errorbar(range(len(known)), means, yerr=errors, color=_BEST, marker="o", capsize=4, label=label)
    name_places(axes, known, 4.5)
    middle = sorted(mark.values[0] for mark in marks)[len(marks) // 2]
    bars = [mean + error for mean, error in zip(means, errors, strict=True)]
    bars += [mean - error for mean, error in zip(means, errors, strict=True)]
    low, high = min([*bars, *(m.values[0] for m in marks)]), max([*bars, middle])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))  # hopeless trials would flatten the rest
    axes.set(xlabel=key, ylabel=name)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def explained(marks: Sequence[Mark], key: str) -> float:
    """Share of the objective's variance that one key explains by itself, from 0 to 1.

    The correlation ratio (Pearson 1905): variance of the group means over the total variance. If there are few
    distinct values, each is a group; many numbers are binned into quartiles.
    """
    ranked = sorted(marks, key=lambda mark: order(mark.params[key]))
    known = sorted({mark.params[key] for mark in marks}, key=order)
    groups: dict[int, list[float]] = {}
    for place, mark in enumerate(ranked):
        group = 4 * place // len(ranked) if _is_continuous(known) else known.index(mark.params[key])
        groups.setdefault(group, []).append(mark.values[0])
    values = [mark.values[0] for mark in marks]
    mean = fmean(values)
    between = sum(len(group) * (fmean(group) - mean) ** 2 for group in groups.values())
    return between / sum((value - mean) ** 2 for value in values)


def importances(shares: Mapping[str, float], name: str) -> Figure:
    """How much of the objective's variance each key explains, from 0 to 1."""
    figure, axes = _blank(7.0, 1.2 + 0.4 * len(shares))
    ascending = sorted(shares, key=lambda key: shares[key])
    bars = axes.barh(ascending, [shares[key] for key in ascending], color=_POINT)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlabel=f"share of the variance of {name} that it explains alone", xlim=(0, 1.1))
    return figure


def front(
    marks: Sequence[Mark],
    best: Sequence[Mark],
    names: tuple[str, str],
    limits: tuple[float | None, float | None] = (None, None),
) -> Figure:
    """Two objectives against each other; the `best` trials, which no other trial beats in both, stand out."""
    figure, axes = _blank(5.5, 4.5)
    drawn = [tuple(map(_held, mark.values, limits)) for mark in marks]
    held = [pair != mark.values for pair, mark in zip(drawn, marks, strict=True)]
    axes.scatter(*_columns([pair for pair, is_held in zip(drawn, held, strict=True) if not is_held]), color=_POINT)
    if any(held):
        beyond = [pair for pair, is_held in zip(drawn, held, strict=True) if is_held]
        axes.scatter(*_columns(beyond), color=_BEYOND, marker="^", label="off the scale")
        axes.legend(frameon=False)
    places = [tuple(map(_held, mark.values, limits)) for mark in best]
    axes.scatter(*_columns(places), color=_BEST)
    for mark, place in zip(best, places, strict=True):
        axes.annotate(str(mark.number), (place[0], place[1]), (4, 4), textcoords="offset points")
    axes.set(xlabel=names[0], ylabel=names[1])
    return figure


def _held(value: float, limit: float | None) -> float:
    return value if limit is None else min(value, limit)


def _parted(marks: Sequence[Mark], limit: float | None) -> tuple[list[Mark], list[Mark]]:
    """The marks that are drawn to scale, and those that stand at the edge."""
    highest = sys.float_info.max if limit is None else limit
    shown: list[Mark] = []
    beyond: list[Mark] = []
    for mark in marks:
        (shown if mark.values[0] <= highest else beyond).append(mark)  # NaN is beyond every limit
    return shown, beyond


def _at_the_edge(axes: Axes, x: Sequence[float], shown: Sequence[Mark], said: str) -> None:
    """Marks above all that is drawn to scale, at the same height in every panel."""
    if said:
        values = [mark.values[0] for mark in shown]
        room = 0.08 * ((max(values) - min(values)) or abs(values[0]) or 1.0)
        axes.axhline(max(values) + room, color=_PRUNED, linewidth=0.6, linestyle=":")
        axes.scatter(x, [max(values) + 2 * room] * len(x), color=_BEYOND, marker="^", label=said)


def _said_of(beyond: Sequence[Mark], limit: float | None) -> str:
    diverged = sum(not math.isfinite(mark.values[0]) for mark in beyond)
    told = [f"{diverged} diverged"] if diverged else []
    told += [f"{len(beyond) - diverged} above {limit:.4g}"] if limit is not None and len(beyond) > diverged else []
    return ", ".join(told)


def _columns(points: Sequence[tuple[float, ...]]) -> tuple[list[float], list[float]]:
    return [point[0] for point in points], [point[1] for point in points]


def order(value: Scalar) -> tuple[bool, float, str]:
    """Sort key for mixed values: numbers by size, then words."""
    is_number = isinstance(value, int | float)
    return (not is_number, float(value) if isinstance(value, int | float) else 0.0, str(value))


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def name_places(axes: Axes, known: Sequence[Scalar], width: float) -> None:
    """Name the places 0, 1, 2, … of an axis of `width` inches by values, at a slant where they would overlap."""
    labels = [value_text(value) for value in known]
    is_crowded = (max(map(len, labels), default=0) + 1) * _LETTER > width / max(1, len(labels))
    axes.set_xticks(range(len(labels)), labels)
    if is_crowded:
        axes.tick_params(axis="x", labelrotation=35)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _is_continuous(known: Sequence[Scalar]) -> bool:
    return len(known) > 8 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)


def value_text(value: Scalar) -> str:
    """A searched value as the name of its place."""
    if value is None:
        return "null"
    return f"{value:.3g}" if isinstance(value, float) else str(value)

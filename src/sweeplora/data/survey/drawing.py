"""One picture of a survey: the images' sizes among the buckets, and how full the buckets are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

_IMAGE, _BUCKET = "#2a6f97", "#d1495b"
_MOST_BARS = 24
_MARGIN = 1.4


def drawing(facts: Mapping[str, Any]) -> Figure:
    """Left each size (the area of a dot is its number of images) and each bucket in use; right the buckets' images."""
    figure = Figure(figsize=(11.0, 5.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_sizes(left, facts["sizes"], facts["buckets"])
    _draw_buckets(right, facts["buckets"])
    return figure


def _draw_sizes(axes: Axes, sizes: Sequence[Mapping[str, int]], buckets: Sequence[Mapping[str, Any]]) -> None:
    axes.set(title="sizes and buckets", xlabel="width (pixels)", ylabel="height (pixels)")
    most = max((one["images"] for one in sizes), default=1)
    areas = [12 + 140 * one["images"] / most for one in sizes]
    axes.scatter([o["width"] for o in sizes], [o["height"] for o in sizes], areas, _IMAGE, alpha=0.5, label="images")
    axes.scatter(
        [one["width"] for one in buckets],
        [one["height"] for one in buckets],
        60,
        marker="s",
        facecolors="none",
        edgecolors=_BUCKET,
        label="buckets",
    )
    sides = [one[side] for one in (*sizes, *buckets) for side in ("width", "height")]
    if sides and max(sides) > 4 * min(sides):
        limits = (min(sides) / _MARGIN, max(sides) * _MARGIN)
        axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(base=2, numticks=8))
            axis.set_major_formatter(FuncFormatter(lambda pixels, _: f"{pixels:g}"))
            axis.set_minor_locator(NullLocator())
    axes.legend(frameon=False)


def _draw_buckets(axes: Axes, buckets: Sequence[Mapping[str, Any]]) -> None:
    some = list(buckets[:_MOST_BARS])[::-1]
    names = [f"{one['width']} x {one['height']}" for one in some]
    trained = [one["images"] - one["held_out"] for one in some]
    held_out = [one["held_out"] for one in some]
    bars = axes.barh(names, trained, color=_IMAGE, label="to train on")
    if any(held_out):
        bars = axes.barh(names, held_out, left=trained, color=_BUCKET, label="held out")
        axes.legend(frameon=False)
    axes.bar_label(bars, labels=[str(one["images"]) for one in some], padding=3)
    rest = f", the {_MOST_BARS} fullest of {len(buckets)}" if len(buckets) > _MOST_BARS else ""
    axes.set(title=f"images by bucket{rest}", xlabel="images")
    axes.margins(x=0.12)  # room for the numbers beside the bars
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))

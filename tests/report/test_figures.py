from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

from sweeplora.report.figures import (
    Mark,
    best_of_each,
    explained,
    front,
    held_to,
    history,
    importances,
    slices,
)
from sweeplora.report.maps import heat_map, map_of_best

MARKS = [
    Mark(dim + alpha, (dim / alpha,), {"network.dim": dim, "network.alpha": alpha, "kind": kind})
    for dim, alpha, kind in ((2, 1, "a"), (2, 4, None), (8, 1, "a"), (8, 4, None))
]


def test_a_map_holds_each_pairs_mean() -> None:
    again = Mark(99, (4.0,), {"network.dim": 2, "network.alpha": 1, "kind": "a"})
    axes = heat_map([*MARKS, again], ("network.dim", "network.alpha"), "val/loss").axes[0]
    assert np.asarray(axes.images[0].get_array()).tolist() == [[3.0, 8.0], [0.5, 2.0]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "8"]
    assert sorted(text.get_text() for text in axes.texts) == ["0.5", "2", "3", "8"]


def test_a_map_of_several_trials_a_cell_holds_the_best_of_each() -> None:
    cells = {(0, 0): [3.0, 1.0], (0, 1): [2.0], (1, 1): [math.inf], (1, 0): [math.inf, 9.0]}
    labels, keys = (("2", "8"), ("0.001 to 0.002", "0.003")), ("network.dim", "optimizer.lr")
    axes = map_of_best(cells, labels, keys, "val/loss", 8.0).axes[0]
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn[0].tolist() == [1.0, 2.0] and drawn[1, 0] == 9.0 and np.isnan(drawn[1, 1])
    assert axes.images[0].get_clim() == (1.0, 8.0)
    assert sorted(text.get_text() for text in axes.texts) == ["1\nof 2", "2", "9\nof 2", "diverged"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "8"] and axes.get_ylabel() == "network.dim"


def test_the_best_of_each_value_is_joined_and_several_seeds_count_as_their_mean() -> None:
    axes = best_of_each(MARKS, "network.dim", {3: [2.0, 4.0]}, "val/loss").axes[0]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [3.0, 2.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "8"]
    assert (
        np.asarray(best_of_each(MARKS, "network.dim", {}, "val/loss").axes[0].lines[0].get_ydata()).tolist()[0] == 0.5
    )


def test_the_bars_of_the_best_are_drawn_to_their_ends() -> None:
    axes = best_of_each(MARKS, "network.dim", {3: [2.0, 4.0], 9: [0.0, 30.0]}, "val/loss").axes[0]
    low, high = axes.get_ylim()
    bars = axes.collections[-1]
    assert isinstance(bars, LineCollection)
    ends = np.concatenate([np.asarray(segment)[:, 1] for segment in bars.get_segments()])
    assert low < ends.min() < ends.max() < high


def test_history_falls_with_the_best_and_shows_pruned_trials_apart() -> None:
    axes = history([*MARKS, Mark(50, (9.0,), {}, pruned=True)], "val/loss").axes[0]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [2.0, 0.5, 0.5, 0.5]
    assert [np.asarray(points.get_offsets()).shape[0] for points in axes.collections] == [4, 1]


def test_slices_space_few_values_evenly_and_many_by_size() -> None:
    few, words = slices(MARKS, ["network.dim", "kind"], "val/loss").axes
    assert [label.get_text() for label in few.get_xticklabels()] == ["2", "8"]
    assert [label.get_text() for label in words.get_xticklabels()] == ["null", "a"]
    many = [Mark(i, (float(i),), {"optimizer.lr": 10.0**-i}) for i in range(9)]
    assert slices(many, ["optimizer.lr"], "val/loss").axes[0].get_xscale() == "log"


def test_the_front_names_the_trials_that_none_beats() -> None:
    marks = [Mark(i, values, {}) for i, values in enumerate([(1.0, 3.0), (2.0, 2.0), (3.0, 3.0), (3.0, 1.0)])]
    best = [marks[0], marks[1], marks[3]]
    assert sorted(text.get_text() for text in front(marks, best, ("a", "b")).axes[0].texts) == ["0", "1", "3"]


def test_importances_are_bars_by_size() -> None:
    axes = importances({"big": 0.8, "small": 0.2}, "val/loss").axes[0]
    assert [round(bar.get_path().get_extents(bar.get_patch_transform()).width, 6) for bar in axes.patches] == [0.2, 0.8]


def test_a_key_explains_what_its_groups_differ_in() -> None:
    marks = [
        Mark(i, (float(dim + noise),), {"dim": dim, "noise": noise, "rate": dim + i / 100})
        for i, (dim, noise) in enumerate((dim, noise) for dim in (0, 8) for noise in (0, 2, 0, 2, 0, 2))
    ]
    # Sums of squares by hand: 12 x 4^2 between the dims, 12 x 1^2 between the noises.
    assert explained(marks, "dim") == pytest.approx(192 / 204)
    assert explained(marks, "noise") == pytest.approx(12 / 204)
    assert explained(marks, "rate") > 0.9


ASTRAY = [*MARKS, Mark(60, (1e9,), MARKS[0].params), Mark(61, (math.inf,), {**MARKS[0].params, "network.dim": 32})]
"""Four trials of at most 8, one of a billion, one that diverged."""


def test_trials_that_went_astray_stand_at_the_edge_of_every_figure_which_says_so() -> None:
    drawn = history(ASTRAY, "val/loss", 8.0).axes[0]
    assert drawn.get_ylim()[1] < 12
    assert "1 diverged, 1 above 8" in [text.get_text() for text in drawn.get_legend().get_texts()]
    edge = np.asarray(drawn.collections[-1].get_offsets())
    assert edge[:, 0].tolist() == [60, 61] and (edge[:, 1] > 8).all()

    figure = slices(ASTRAY, ["network.dim", "kind"], "val/loss", 8.0)
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() and figure.axes[0].get_ylim()[1] < 12
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1 diverged, 1 above 8"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "8", "32"]

    axes = heat_map(ASTRAY, ("network.dim", "network.alpha"), "val/loss", 8.0).axes[0]
    assert axes.images[0].get_clim() == (0.5, 8.0)
    assert "diverged" in [text.get_text() for text in axes.texts]

    pairs = [Mark(i, (value, 1.0 / value), {}) for i, value in enumerate((1.0, 2.0, 3.0, 1e9))]
    assert front(pairs, pairs[:1], ("a", "b"), (3.0, None)).axes[0].get_xlim()[1] < 4


def test_a_trial_that_went_astray_does_not_explain_everything() -> None:
    marks = [Mark(i, (float(i % 2),), {"a": i % 2, "b": i // 4}) for i in range(8)]
    marks.append(Mark(8, (1e9,), {"a": 0, "b": 3}))
    assert explained(marks, "b") > 0.99
    assert explained(held_to(marks, 1.0), "b") < 0.5


def test_the_names_of_places_overlap_in_no_figure() -> None:
    words = ("adafactor", "adamw", "lion", "prodigy", "schedulefree_radam")
    rates = (0.003514, 0.003963, 0.007705, 0.02195, 0.02286)
    many = [
        Mark(i, (0.1 + i / 100,), {"optimizer": words[i % 5], "optimizer.lr": rates[i % 5], "ema": 0.99021 + i / 1e5})
        for i in range(10)
    ]
    figures = [
        slices(many, ["optimizer", "optimizer.lr", "ema"], "val/loss"),
        heat_map(many, ("optimizer", "optimizer.lr"), "val/loss"),
        best_of_each(many, "optimizer", {}, "val/loss"),
    ]
    for figure in figures:
        FigureCanvasAgg(figure).draw()
        for axes in figure.axes:
            low, high = axes.get_xlim()
            ticks = [tick for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
            for one, following in pairwise([tick.label1 for tick in ticks if tick.label1.get_text()]):
                if one.get_rotation() == 0:  # at a slant, letters pass below those of the next
                    assert one.get_window_extent().x1 < following.get_window_extent().x0
                else:
                    assert following.get_window_extent().x1 - one.get_window_extent().x1 > one.get_fontsize()

"""Change points of series, with the statistic and the test calculated in other ways."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from sweeplora.nightly.change_points import change_points, energy, student


def test_the_energy_statistic_is_matteson_and_james() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0, 1, 7), random.normal(1, 1, 4)
    between = sum(abs(a - b) for a in one for b in other) * 2 / (7 * 4)
    inside = [
        sum(abs(a - b) for a, b in combinations(sample, 2)) / (len(sample) * (len(sample) - 1) / 2)
        for sample in (one, other)
    ]
    assert energy(one, other) == pytest.approx(28 / 11 * (between - sum(inside)))


def test_students_test_is_scipys() -> None:
    random = np.random.default_rng(1)
    one, other = random.normal(0, 1, 9), random.normal(1, 1, 5)
    assert student(one, other) == pytest.approx(stats.ttest_ind(one, other).pvalue)


def test_a_step_is_found_where_it_is_and_only_there() -> None:
    noise = np.random.default_rng(2).normal(0, 0.002, 40)
    level = np.where(np.arange(40) < 23, 0.1, 0.11)
    (found,) = change_points(list(level + noise))
    assert found.index == 23
    assert (found.before, found.after) == pytest.approx((0.1, 0.11), abs=0.001)


def test_two_steps_that_cancel_are_both_found() -> None:
    noise = np.random.default_rng(3).normal(0, 0.002, 45)
    level = np.where((np.arange(45) >= 15) & (np.arange(45) < 30), 0.11, 0.1)
    assert [one.index for one in change_points(list(level + noise))] == [15, 30]


def test_nights_that_repeat_to_the_last_bit_change_with_the_second_night_of_a_new_level() -> None:
    assert change_points([0.1] * 6) == []
    assert change_points([0.1] * 6 + [0.103]) == []
    assert [one.index for one in change_points([0.1] * 6 + [0.103] * 2)] == [6]


def test_noise_alone_has_no_change_points() -> None:
    found = [len(change_points(list(np.random.default_rng(seed).normal(0, 1, 50)))) for seed in range(40)]
    assert sum(count > 0 for count in found) <= 4


def test_a_short_or_spoilt_series() -> None:
    assert change_points([]) == change_points([1.0, 2.0, 3.0]) == []
    with pytest.raises(ValueError, match="not finite"):
        change_points([1.0, float("nan")])

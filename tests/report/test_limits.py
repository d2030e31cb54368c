from __future__ import annotations

import math

import pytest

from sweeplora.report.limits import limit_of, limit_of_courses

GOOD = [0.115, 0.118, 0.13, 0.17]


@pytest.mark.parametrize(
    ("values", "base", "limit"),
    [
        (GOOD, 0.266, None),
        ([*GOOD, 0.4], 0.266, None),  # worse than the base model, and still to be compared
        ([*GOOD, 4e9], 0.266, 0.17),
        ([*GOOD, 1e300, math.inf, math.nan], None, 0.17),
        ([0.115, 1e4, 2e5, 3e6, 4e7], 0.266, pytest.approx(0.1265)),  # nearly all of them went astray
        ([0.5, 0.6, 0.7, 90.0], 0.4, 0.7),  # none is as good as the base model
        ([2.0, 2.0, 2.0, 2.001], None, None),
        ([0.0, 0.0, 1.0], None, None),
        ([-5.0, -4.9, -4.8, 1e6], None, -4.5),
        ([math.nan], 0.266, None),
        ([], None, None),
    ],
)
def test_what_went_astray_does_not_set_the_scale(values: list[float], base: float | None, limit: float | None) -> None:
    assert limit_of(values, base) == limit


def test_a_course_that_explodes_is_cut_above_where_the_trials_began_and_noise_is_not() -> None:
    falling = [(step, 0.5 / (1 + step)) for step in range(10)]
    exploding = [(step, 0.5 * 40.0**step) for step in range(10)]
    assert limit_of_courses([falling, falling]) is None
    assert limit_of_courses([falling, falling, exploding]) == 0.5
    # Batches of one: the first was an easy one, and others are fifty times as hard.
    noisy = [(step, value) for step, value in enumerate([0.01, 0.3, 0.08, 0.5, 0.09, 0.2, 0.07, 0.4])]
    assert limit_of_courses([noisy]) is None
    assert limit_of_courses([]) is None

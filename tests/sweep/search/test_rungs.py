"""Which trials go on from a common point, and which are significantly worse."""

from __future__ import annotations

import pytest

from sweeplora.config.compose import compose
from sweeplora.randomness import seed_of
from sweeplora.sweep.search.rungs import Reached, Rungs, rungs_of, worse

RUNGS = Rungs(0.25, 0.25, 0.05)


def reached(number: int, value: float, noise: float = 0.0) -> Reached:
    """A trial whose triples differ much from each other, and little from the other trials' beyond `value`."""
    losses = {}
    for index in range(32):
        draw = seed_of(number, "noise", index) % 1000 / 1000 - 0.5
        losses[str(index)] = value + index / 10 + noise * draw
    return Reached(number, sum(losses.values()) / 32, losses)


def test_the_best_share_goes_on_and_at_least_one() -> None:
    trials = [reached(number, 1 + (7 - number) / 10) for number in range(8)]
    assert RUNGS.going_on(trials) == [7, 6]
    assert RUNGS.going_on(trials[:3]) == [2]
    assert (RUNGS.step(24), RUNGS.step(5), RUNGS.step(1)) == (6, 2, 1)


def test_a_difference_is_judged_per_triple_against_the_noise_of_the_differences() -> None:
    best, close, far = reached(0, 1.0, 0.2), reached(1, 1.005, 0.2), reached(2, 1.2, 0.2)
    assert RUNGS.hopeless([far, close, best]) == {2}
    assert worse(best, far) < 1e-6
    assert worse(best, close) > 0.05
    assert worse(best, Reached(3, 9.0, {})) == 1.0, "without common triples nothing is known"
    assert worse(best, best) == 1.0


def test_many_comparisons_are_corrected_for() -> None:
    chance = [reached(number, 1.0, 0.4) for number in range(200)]
    uncorrected = sum(worse(min(chance, key=lambda one: one.value), one) < 0.05 for one in chance)
    assert uncorrected > len(RUNGS.hopeless(chance))


@pytest.mark.parametrize(("pruner", "is_one"), [("rungs", True), ("median", False), ("none", False)])
def test_the_shipped_file_describes_them(pruner: str, is_one: bool) -> None:
    assert (rungs_of(compose((f"pruner={pruner}",)).config["pruner"]) == RUNGS) == is_one

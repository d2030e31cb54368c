"""Halving finds the first bad of a history with as few tests as it takes, also past what cannot be tested."""

from __future__ import annotations

import itertools
import math

import pytest

from sweeplora.nightly.bisect import Test, halve


@pytest.mark.parametrize("count", [1, 2, 7, 8, 31])
def test_halving_finds_every_first_bad_in_the_logarithm_of_the_history(count: int) -> None:
    for first in range(count):
        tested: list[int] = []

        def test(index: int, first: int = first, tested: list[int] = tested) -> Test:
            tested.append(index)
            return "bad" if index >= first else "good"

        found = halve(count, test)
        assert (found.good, found.bad, found.between) == (first - 1, first, ())
        assert len(tested) <= math.ceil(math.log2(count)) if count > 1 else not tested


def test_skipped_commits_beside_the_answer_are_named_and_others_are_not() -> None:
    for first, skipped in itertools.product(range(8), [{2}, {3, 4}, {1, 3, 5}]):

        def test(index: int, first: int = first, skipped: set[int] = skipped) -> Test:
            return "skipped" if index in skipped else "bad" if index >= first else "good"

        found = halve(8, test)
        # Nothing but skipped ones is left between the two, and the truth is among them or is the first bad one.
        assert set(range(found.good + 1, found.bad)) == set(found.between) <= skipped
        assert found.good < first <= found.bad

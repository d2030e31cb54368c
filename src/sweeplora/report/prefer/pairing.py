"""Which two trials to compare next: the pair whose answer is expected to tell most."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np

from sweeplora.report.bradley_terry import expected_information
from sweeplora.report.preferences import Preferences

_EQUAL = 1e-9


def next_pair(found: Preferences, comparable: Callable[[int, int], bool], random: Random) -> tuple[int, int] | None:
    """Numbers of the two trials to compare next, left and right by chance; None if no two are comparable.

    A comparison counts by what it is expected to tell about the strengths, times the chance that one of the two is the
    best of all: nobody wants to know which of two bad trials is the worse. Among equal pairs one is drawn.
    """
    num = len(found.numbers)
    first, second = np.triu_indices(num, 1)
    if not len(first):
        return None
    told = expected_information(found.strengths, first, second)
    chances = found.strengths.best_chances() + 1 / num**2
    worth = told * (chances[first] + chances[second])
    order = np.argsort(-worth, kind="stable")
    while len(order):
        top = order[worth[order] >= worth[order[0]] * (1 - _EQUAL)]
        for place in random.sample(list(top), len(top)):
            pair = (found.numbers[first[place]], found.numbers[second[place]])
            if comparable(*pair):
                return pair if random.random() < 0.5 else pair[::-1]
        order = order[len(top) :]
    return None

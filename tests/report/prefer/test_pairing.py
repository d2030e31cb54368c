"""Which pair is shown next, and that a person who is asked so is understood soon."""

from __future__ import annotations

import math
from random import Random

from sweeplora.report.prefer.pairing import next_pair
from sweeplora.report.preferences import Preferences, preferences_of
from sweeplora.rundir.preferences import Judgement, Picked

NAMES = "abcdefgh"


def found_of(judgements: list[Judgement], names: str = NAMES) -> Preferences:
    return preferences_of(judgements, {one: number for number, one in enumerate(names)})


def everything(one: int, other: int) -> bool:
    return one != other


def test_every_trial_is_shown_before_a_pair_is_shown_again() -> None:
    judgements: list[Judgement] = []
    for _ in range(4):
        pair = next_pair(found_of(judgements), everything, Random(1))
        assert pair is not None
        judgements.append(Judgement(NAMES[pair[0]], NAMES[pair[1]], "tie"))
    assert len({name for one in judgements for name in one[:2]}) == 8


def test_trials_without_a_common_prompt_are_never_shown_together() -> None:
    shown = {next_pair(found_of([]), lambda a, b: {a, b} == {2, 5}, Random(seed)) for seed in range(12)}
    assert shown == {(2, 5), (5, 2)}  # on either side
    assert next_pair(found_of([]), lambda a, b: False, Random(0)) is None
    assert next_pair(found_of([], "a"), everything, Random(0)) is None


def test_two_trials_that_are_surely_bad_are_not_compared() -> None:
    bad = [Judgement("a", other, "left") for other in "cd" for _ in range(8)]
    good = [Judgement("b", other, "left") for other in "cd" for _ in range(8)]
    pair = next_pair(found_of([*bad, *good], "abcd"), everything, Random(0))
    assert pair is not None and set(pair) == {0, 1}


def after(seed: int, count: int, chosen: bool) -> int:
    """The favourite after so many answers of a person whose strengths are 0.7 apart, best first."""
    random = Random(seed)
    judgements: list[Judgement] = []
    for _ in range(count):
        pair = next_pair(found_of(judgements), everything, random) if chosen else random.sample(range(8), 2)
        assert pair is not None
        left, right = pair
        d = 0.7 * (right - left)
        weights = (math.exp(d / 2), math.exp(-d / 2), 0.5)
        kinds: tuple[Picked, ...] = ("left", "right", "tie")
        judgements.append(Judgement(NAMES[left], NAMES[right], random.choices(kinds, weights)[0]))
    favourite = found_of(judgements).favourite
    assert favourite is not None
    return favourite


def test_chosen_pairs_find_the_favourite_more_surely_than_random_ones() -> None:
    lost = {chosen: sum(after(seed, 24, chosen) for seed in range(16)) for chosen in (True, False)}
    assert lost[True] < lost[False], "the sum of places behind the best one"

"""The canary on courses of losses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweeplora.nightly.canary import Envelope, distance, envelope, judge_canary
from sweeplora.nightly.criterion import Verdict

LIMITS = Envelope(1e-4, 0.02)
COURSE = [float(loss) for loss in np.random.default_rng(0).uniform(0.05, 0.4, 50)]


def nudged(step: int) -> list[float]:
    """The same with one bit of one loss changed."""
    return [math.nextafter(loss, 1) if place == step else loss for place, loss in enumerate(COURSE, 1)]


def test_the_same_bits_pass() -> None:
    found = judge_canary("locon", (COURSE, list(COURSE)), LIMITS, None)
    assert (found.verdict, found.effect) == (Verdict.PASS, 0.0)


def test_one_bit_is_a_regression_where_nothing_explains_it_and_passes_where_versions_do() -> None:
    found = judge_canary("locon", (COURSE, nudged(17)), LIMITS, None)
    assert found.verdict is Verdict.REGRESSED
    assert "from step 17 on" in found.sentence
    explained = judge_canary("locon", (COURSE, nudged(17)), LIMITS, "torch 2.13.0 -> 2.14.0")
    assert explained.verdict is Verdict.PASS
    assert "torch 2.13.0 -> 2.14.0" in explained.sentence


@pytest.mark.parametrize("factor", [0.96, 1.04])
def test_a_change_beyond_the_envelope_is_seen_in_either_direction(factor: float) -> None:
    changed = [COURSE[0], *(loss * factor for loss in COURSE[1:])]
    assert judge_canary("locon", (COURSE, changed), LIMITS, "the training's code").verdict is Verdict.REGRESSED
    small = [COURSE[0], *(loss * (1 + (factor - 1) * 0.15) for loss in COURSE[1:])]
    assert judge_canary("locon", (COURSE, small), LIMITS, "the training's code").verdict is Verdict.PASS


@pytest.mark.parametrize(("factor", "verdict"), [(1.001, Verdict.REGRESSED), (1 + 1e-6, Verdict.PASS)])
def test_the_first_loss_which_nothing_has_moved_has_an_envelope_of_its_own(factor: float, verdict: Verdict) -> None:
    changed = [COURSE[0] * factor, *COURSE[1:]]
    assert judge_canary("locon", (COURSE, changed), LIMITS, "the training's code").verdict is verdict


def test_ups_and_downs_do_not_cancel() -> None:
    shaken = [loss * (1.02 if place % 2 else 0.98) for place, loss in enumerate(COURSE)]
    assert distance(COURSE, shaken) == pytest.approx(0.02, rel=0.02)


def test_a_device_that_does_not_repeat_itself_has_a_wider_envelope() -> None:
    again = [loss * 1.02 for loss in COURSE]
    wide = envelope(COURSE, again)
    assert wide == pytest.approx((2 * math.log(1.02), 2 * math.log(1.02)))
    assert envelope(COURSE, COURSE) == envelope(COURSE, []) == LIMITS
    assert envelope(COURSE, COURSE, "bf16").first > LIMITS.first


@pytest.mark.parametrize(
    ("there", "here", "verdict"),
    [
        (COURSE, [*COURSE[:9], math.nan], Verdict.REGRESSED),
        (COURSE, [*COURSE[:9], -1.0, *COURSE[10:]], Verdict.REGRESSED),
        (COURSE, COURSE[:30], Verdict.INFRA),
        ([], COURSE, Verdict.NO_BASELINE),
    ],
)
def test_what_is_missing_or_not_finite_never_passes(there: list[float], here: list[float], verdict: Verdict) -> None:
    assert judge_canary("locon", (there, here), LIMITS, "something").verdict is verdict

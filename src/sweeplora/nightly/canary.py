"""The canary: are the first losses of a training those of the baseline's, at the same seed? Numbers in, criterion out.

Before anything is averaged, two trainings with one seed see the same images, timesteps and noise. So their losses, one
by one, tell a change of the computation long before a test over seeds can, in either direction. The first one is that
of the base model, which nothing learnt has moved yet: what data, captions, noise or encoders do shows there at once,
and how a network learns does not show at all. The rest tells that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sweeplora.nightly.criterion import Criterion, Verdict

STEPS = 50
LEAST_DISTANCE = 0.02
"""Of the course. The losses of steps drift apart sooner than what is learnt: a rate 4 % higher moves val/loss by 0.3 %
and the course by up to 1.1 %."""

LEAST_AT_FIRST = 1e-4
LEAST_AT_FIRST_IN_HALF = 5e-3
"""Of the first loss: room for another rounding, which in half precision is a coarse one."""

_SPREADS = 2.0
METRIC = "canary"


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """How far two courses of losses are apart: the mean of |log(a / b)| over the steps that both have.

    0.01 means that losses differ by 1 % on average, up or down. NaN if a loss is not finite or not above 0.
    """
    pairs = list(zip(one, other, strict=False))
    if not pairs or not all(math.isfinite(value) and value > 0 for pair in pairs for value in pair):
        return math.nan
    return float(np.mean([abs(math.log(a) - math.log(b)) for a, b in pairs]))


def first_difference(one: Sequence[float], other: Sequence[float]) -> int | None:
    """The first step, from 1 on, at which two courses differ in any bit; None if they do not."""
    return next((step for step, (a, b) in enumerate(zip(one, other, strict=False), 1) if a != b), None)


class Envelope(NamedTuple):
    """The distances that A/A explains: of the `first` loss, and of the whole `course`."""

    first: float
    course: float


def envelope(one: Sequence[float], again: Sequence[float], precision: str = "no") -> Envelope:
    """max(the least that counts, twice that of a seed trained twice by the baseline's code), for both distances.

    `precision`: train.mixed_precision, on which the least difference of the first loss depends.
    """
    least = Envelope(LEAST_AT_FIRST if precision == "no" else LEAST_AT_FIRST_IN_HALF, LEAST_DISTANCE)
    apart = distance(one[:1], again[:1]), distance(one, again)
    return Envelope(
        *(
            floor if math.isnan(found) else max(floor, _SPREADS * found)
            for floor, found in zip(least, apart, strict=True)
        )
    )


def judge_canary(
    configuration: str,
    courses: tuple[Sequence[float], Sequence[float]],
    limits: Envelope,
    same_bits: str | None,
) -> Criterion:
    """Compare the first losses of the baseline and of now, at one seed.

    `same_bits`: why these two need not agree to the last bit (what is different between them); None if nothing is, and
    then a single bit is REGRESSED: what is not recorded (a driver, a processor, a library below) computes otherwise.
    """
    there, here = courses
    steps = min(len(there), len(here))
    if len(there) < 1:
        return Criterion(configuration, METRIC, Verdict.NO_BASELINE, "the baseline has no losses of this seed")
    if any(not math.isfinite(loss) for loss in here):
        spoilt = next(step for step, loss in enumerate(here, 1) if not math.isfinite(loss))
        return Criterion(configuration, METRIC, Verdict.REGRESSED, f"the loss of step {spoilt} is not finite")
    if len(here) < len(there):
        sentence = f"{len(here)} losses, the baseline has {len(there)}"
        return Criterion(configuration, METRIC, Verdict.INFRA, sentence)
    apart, step = distance(there, here), first_difference(there, here)

    def found(verdict: Verdict, sentence: str) -> Criterion:
        means = float(np.mean(there[:steps])), float(np.mean(here[:steps]))
        effect = apart if math.isfinite(apart) else None
        return Criterion(configuration, METRIC, verdict, sentence, *means, effect, limit=limits.course, seeds=1)

    if step is None:
        return found(Verdict.PASS, f"the first {steps} losses are the same to the last bit")
    told = f"the first {steps} losses differ from step {step} on, by {100 * apart:.2g} % on average"
    if same_bits is None:
        why = "although code, settings, versions, threads and machine are the same: something unrecorded changed"
        return found(Verdict.REGRESSED, f"{told}, {why}")
    at_first = distance(there[:1], here[:1])
    told = f"{told} and {100 * at_first:.2g} % at the first; A/A explains {100 * limits.course:.2g} % and "
    told = f"{told}{100 * limits.first:.2g} %; different: {same_bits}"
    return found(Verdict.PASS if apart <= limits.course and at_first <= limits.first else Verdict.REGRESSED, told)

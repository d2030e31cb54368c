"""Learning-rate schedules: the multiplier of the learning rate at an optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, MinLen

from sweeplora.errors import UserError

Schedule = Callable[[int, int], float]
"""(updates done so far, total updates) -> multiplier of the learning rate.

Both count optimizer steps, regardless of the number of processes. In sd-scripts the counters advance by the number of
processes at each step, so a count of steps is reached that many times sooner; a share means the same in both.
"""

Warmup = Annotated[float, Ge(0)]
"""Optimizer steps of the linear warm-up from 0; below 1, a share of all steps, rounded down."""

_NO_WARMUP_TIMESCALE = 10_000
_HALF = 0.5
"""The number of cycles of a cosine that ends at 0."""


def constant(step: int, num_steps: int, *, warmup: Warmup) -> float:
    """1, after a linear warm-up from 0."""
    return _rise(step, count(warmup, num_steps))


def linear(step: int, num_steps: int, *, warmup: Warmup) -> float:
    """From 1 to 0 in a straight line, after a linear warm-up."""
    rise = count(warmup, num_steps)
    return _rise(step, rise) if step < rise else max(0.0, 1.0 - _progress(step, num_steps, rise))


def cosine(step: int, num_steps: int, *, warmup: Warmup, num_cycles: Annotated[float, Gt(0)]) -> float:
    """(1 + cos(2 pi num_cycles progress)) / 2 after a linear warm-up; half a cycle ends at 0."""
    rise = count(warmup, num_steps)
    return _rise(step, rise) if step < rise else _wave(_progress(step, num_steps, rise), num_cycles)


def restarts(step: int, num_steps: int, *, warmup: Warmup, num_cycles: Annotated[int, Ge(1)]) -> float:
    """Cosines from 1 to 0 one after the other, `num_cycles` of them, after a linear warm-up."""
    rise = count(warmup, num_steps)
    if step < rise:
        return _rise(step, rise)
    progress = _progress(step, num_steps, rise)
    return 0.0 if progress >= 1 else _wave(num_cycles * progress % 1.0, _HALF)


def inverse_sqrt(step: int, num_steps: int, *, warmup: Warmup, timescale: Annotated[int, Ge(1)] | None) -> float:
    """sqrt(timescale / (timescale + s)), s the steps after a linear warm-up.

    timescale None: as many steps as the warm-up has, or 10,000 without a warm-up.
    """
    rise = count(warmup, num_steps)
    if step < rise:
        return _rise(step, rise)
    scale = timescale or rise or _NO_WARMUP_TIMESCALE
    return math.sqrt(scale / (scale + step - rise))


def adafactor(step: int, num_steps: int) -> float:
    """Always 1: Adafactor's relative step is already a schedule."""
    return 1.0


@dataclass(frozen=True)
class Polynomial:
    """From `base` to `lr_end` as (1 - progress)^power, after a linear warm-up; `base` is the optimizer's rate."""

    warmup: Warmup
    power: Annotated[float, Gt(0)]
    lr_end: Annotated[float, Ge(0)]
    base: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if self.lr_end >= self.base:
            raise UserError("scheduler.lr_end", self.lr_end, f"must be below optimizer.lr={self.base}")

    def __call__(self, step: int, num_steps: int) -> float:
        """The multiplier at `step` of `num_steps`."""
        rise = count(self.warmup, num_steps)
        if step < rise:
            return _rise(step, rise)
        least = self.lr_end / self.base
        return _above(least, max(0.0, 1.0 - _progress(step, num_steps, rise)) ** self.power)


@dataclass(frozen=True)
class CosineMinLR:
    """A cosine that ends at `min_lr`, or at the share `min_lr_rate` of `base`, the optimizer's rate."""

    warmup: Warmup
    num_cycles: Annotated[float, Gt(0)]
    min_lr_rate: Annotated[float, Interval(ge=0, le=1)] | None
    min_lr: Annotated[float, Ge(0)] | None
    base: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if (self.min_lr_rate is None) == (self.min_lr is None):
            mend = f"with scheduler.min_lr={self.min_lr}; give one of the two, the other null"
            raise UserError("scheduler.min_lr_rate", self.min_lr_rate, mend)
        if self.min_lr is not None and self.min_lr > self.base:
            raise UserError("scheduler.min_lr", self.min_lr, f"must not be above optimizer.lr={self.base}")

    def __call__(self, step: int, num_steps: int) -> float:
        """The multiplier at `step` of `num_steps`."""
        rise = count(self.warmup, num_steps)
        if step < rise:
            return _rise(step, rise)
        least = self.min_lr / self.base if self.min_lr is not None else self.min_lr_rate or 0.0
        return _above(least, _wave(_progress(step, num_steps, rise), self.num_cycles))


@dataclass(frozen=True)
class WarmupStableDecay:
    """From `min_lr_rate` up to 1, constant, then back down to `min_lr_rate` over the last `decay` steps.

    decay: optimizer steps; below 1, a share of all. The decay is linear, a cosine, or 1 - sqrt(progress); the warm-up
    is the same reversed. Source: `get_wsd_schedule` of transformers.
    """

    warmup: Warmup
    decay: Annotated[float, Ge(0)]
    warmup_type: Literal["linear", "cosine", "1-sqrt"]
    decay_type: Literal["linear", "cosine", "1-sqrt"]
    num_cycles: Annotated[float, Gt(0)]
    min_lr_rate: Annotated[float, Interval(ge=0, le=1)]

    def __post_init__(self) -> None:
        if self.num_cycles != _HALF and self.decay_type != "cosine":
            mend = f"has no effect with scheduler.decay_type={self.decay_type}; leave it at {_HALF}"
            raise UserError("scheduler.num_cycles", self.num_cycles, mend)

    def __call__(self, step: int, num_steps: int) -> float:
        """The multiplier at `step` of `num_steps`."""
        rise, fall = count(self.warmup, num_steps), count(self.decay, num_steps)
        level = num_steps - rise - fall
        if step < rise:
            # The warm-up is the decay reversed.
            return _above(self.min_lr_rate, _down(self.warmup_type, 1.0 - step / rise, _HALF))
        if step < rise + level:
            return 1.0
        gone = step - rise - level
        left = _down(self.decay_type, gone / fall, self.num_cycles) if gone < fall else 0.0
        return _above(self.min_lr_rate, left)


@dataclass(frozen=True)
class Piecewise:
    """`values[i]` before step `until[i]`, and the last value after that; `until` counts optimizer steps."""

    values: Annotated[list[Annotated[float, Ge(0)]], MinLen(1)]
    until: list[Annotated[int, Ge(1)]]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.until) + 1:
            mend = f"{len(self.values)} values need {len(self.values) - 1} steps between them"
            raise UserError("scheduler.until", self.until, mend)
        if any(later <= earlier for earlier, later in pairwise(self.until)):
            raise UserError("scheduler.until", self.until, "must rise: steps count from the start of the training")

    def __call__(self, step: int, num_steps: int) -> float:
        """The multiplier at `step`."""
        return self.values[sum(step >= end for end in self.until)]


def count(steps: float, num_steps: int) -> int:
    """A number of steps from a config: a count or, below 1, a share of all steps."""
    return int(steps * num_steps) if steps < 1 else int(steps)


def _rise(step: int, warmup_steps: int) -> float:
    return step / warmup_steps if step < warmup_steps else 1.0


def _progress(step: int, num_steps: int, warmup_steps: int) -> float:
    return (step - warmup_steps) / max(1, num_steps - warmup_steps)


def _wave(progress: float, num_cycles: float) -> float:
    return max(0.0, 0.5 * (1.0 + math.cos(2.0 * math.pi * num_cycles * progress)))


def _down(kind: str, progress: float, num_cycles: float) -> float:
    match kind:
        case "linear":
            return 1.0 - progress
        case "cosine":
            return _wave(progress, num_cycles)
        case _:
            return 1.0 - math.sqrt(progress)


def _above(least: float, value: float) -> float:
    return value * (1.0 - least) + least

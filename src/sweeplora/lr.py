"""Learning-rate schedules: the multiplier of the learning rate at an optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from annotated_types import Ge, Gt

Schedule = Callable[[int, int], float]
"""(updates done so far, updates in all) -> multiplier of the learning rate."""

Warmup = Annotated[float, Ge(0)]


def constant(step: int, num_steps: int, *, warmup: Warmup) -> float:
    """1, after a linear warm-up from 0."""
    return _rise(step, _warmup_steps(warmup, num_steps))


def linear(step: int, num_steps: int, *, warmup: Warmup) -> float:
    """From 1 to 0 in a straight line, after a linear warm-up."""
    rise = _warmup_steps(warmup, num_steps)
    return _rise(step, rise) if step < rise else max(0.0, 1.0 - _progress(step, num_steps, rise))


def cosine(step: int, num_steps: int, *, warmup: Warmup, num_cycles: Annotated[float, Gt(0)]) -> float:
    """(1 + cos(2 pi num_cycles progress)) / 2 after a linear warm-up; half a cycle ends at 0."""
    rise = _warmup_steps(warmup, num_steps)
    if step < rise:
        return _rise(step, rise)
    return max(0.0, 0.5 * (1.0 + math.cos(2.0 * math.pi * num_cycles * _progress(step, num_steps, rise))))


def _warmup_steps(warmup: float, num_steps: int) -> int:
    """A count, or below 1 a share of all steps."""
    return int(warmup * num_steps) if warmup < 1 else int(warmup)


def _rise(step: int, warmup_steps: int) -> float:
    return step / warmup_steps if step < warmup_steps else 1.0


def _progress(step: int, num_steps: int, warmup_steps: int) -> float:
    return (step - warmup_steps) / max(1, num_steps - warmup_steps)

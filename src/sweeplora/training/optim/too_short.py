"""Warnings for a training that ends before its warm-up or its learning-rate steps do; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeplora.training.optim.schedules import count

_SCHEDULES = "sweeplora.training.optim.schedules."
_SCHEDULE_FREE = "schedulefree."


def too_short(scheduler: Mapping[str, Any], optimizer: Mapping[str, Any], num_steps: int) -> list[str]:
    """A line for each number of steps, in these config groups, that a training of `num_steps` does not reach."""
    said = []
    warmup = decay = 0
    if scheduler["_target_"].startswith(_SCHEDULES):
        warmup, decay = (count(scheduler.get(key, 0), num_steps) for key in ("warmup", "decay"))
        said += [_warmup("scheduler.warmup", scheduler["warmup"], num_steps)] if warmup >= num_steps else []
        if warmup < num_steps < warmup + decay:
            said.append(
                f"scheduler.warmup={scheduler['warmup']} and scheduler.decay={scheduler['decay']} end after the "
                f"training's last step, {num_steps}: the decay is cut short"
            )
        missed = [step for step in scheduler.get("until", ()) if step >= num_steps]
        if missed:
            said.append(
                f"scheduler.until={missed[0]} lies beyond the training's last step, {num_steps}, and changes nothing"
            )
    if optimizer["_target_"].startswith(_SCHEDULE_FREE) and optimizer.get("warmup_steps", 0) >= num_steps:
        said.append(_warmup("optimizer.warmup_steps", optimizer["warmup_steps"], num_steps))
    return said


def _warmup(key: str, value: float, num_steps: int) -> str:
    return f"{key}={value} is not over at the training's last step, {num_steps}: its learning rate is never reached"

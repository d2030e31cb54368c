"""Learning-rate schedules at every step against diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers.optimization import get_scheduler

from sweeplora import lr

STEPS = 37


@pytest.mark.parametrize("warmup", [0, 5, 0.25])
@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_every_step_has_the_reference_learning_rate(name: str, warmup: float) -> None:
    ours = {
        "constant": lambda step: lr.constant(step, STEPS, warmup=warmup),
        "linear": lambda step: lr.linear(step, STEPS, warmup=warmup),
        "cosine": lambda step: lr.cosine(step, STEPS, warmup=warmup, num_cycles=0.5),
    }[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup_steps = int(warmup * STEPS) if warmup < 1 else int(warmup)
    reference = "constant_with_warmup" if name == "constant" else name
    schedule = get_scheduler(reference, optimizer, num_warmup_steps=warmup_steps, num_training_steps=STEPS)
    for step in range(STEPS):
        assert ours(step) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_fewer_cosine_cycles_end_above_zero() -> None:
    assert lr.cosine(100, 100, warmup=0, num_cycles=0.375) == pytest.approx(0.5 * (1 - 2**-0.5))

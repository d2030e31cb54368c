"""The loss scale of half precision: as torch's own scaler moves it, and taken out of the gradients again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sweeplora.training.optim.gradients import FlatGradients
from sweeplora.training.optim.loss_scale import LossScale


def test_it_moves_as_torchs_scaler_does() -> None:
    ours, theirs = LossScale(), torch.amp.GradScaler("cpu", enabled=True)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    theirs.scale(torch.ones(()))
    for step in range(2100):
        finite = step not in (0, 1, 40)
        weight.grad = torch.tensor([1.0 if finite else math.inf])
        theirs.step(optimizer)
        theirs.update()
        ours.update(finite)
        if step in (0, 1, 39, 40, 2039, 2040, 2041, 2099):
            assert ours.value == theirs.get_scale(), step


def test_half_precision_gradients_that_would_underflow_come_back_and_overflow_is_seen() -> None:
    weight = nn.Parameter(torch.full((4,), 1.0, dtype=torch.float16))
    flat = FlatGradients([weight], extras=1)
    scale = LossScale()

    def gradients(factor: float) -> float:
        flat.clear()
        # The product is summed in float32, as a loss is; only the gradient is held in half precision.
        (weight.float() * factor).sum().mul(scale.value).backward()
        return flat.clip(0.0, scale.value)

    assert gradients(3e-7) == pytest.approx(2 * 3e-7, rel=1e-3)  # below half precision's steps near zero
    assert not math.isfinite(gradients(10.0))  # 10 times the scale is more than it can hold
    scale.update(finite=False)
    for _ in range(4):
        scale.update(finite=False)
    assert gradients(10.0) == pytest.approx(20.0, rel=1e-3)
    assert weight.grad is not None and weight.grad.tolist() == pytest.approx([10.0] * 4, rel=1e-3)

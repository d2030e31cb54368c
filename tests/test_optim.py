"""One buffer of gradients, learning rates of the groups, and averaging optimizers."""

from __future__ import annotations

import pytest
import schedulefree
import torch
from torch import nn

from sweeplora.optim import FlatGradients, LearningRates, weights_for_use


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (5,), (2, 2, 2))]


def test_backward_adds_into_the_buffer_and_the_norm_is_that_of_all_gradients() -> None:
    trained = parameters()
    flat = FlatGradients(trained, room=2)
    flat.clear()
    for _ in range(2):
        sum(p.square().sum() for p in trained).backward()
    expected = torch.cat([4 * p.detach().flatten() for p in trained])
    assert torch.allclose(flat.gradients, expected)
    reference = [p.detach().clone().requires_grad_() for p in trained]
    for clone, p in zip(reference, trained, strict=True):
        clone.grad = p.grad.clone()
    norm = nn.utils.clip_grad_norm_(reference, 0.5)
    assert float(flat.clip(0.5)) == pytest.approx(float(norm), rel=1e-6)
    for clone, p in zip(reference, trained, strict=True):
        assert torch.allclose(clone.grad, p.grad, rtol=1e-5)


def test_clipping_at_zero_leaves_gradients_alone() -> None:
    trained = parameters()
    flat = FlatGradients(trained, room=0)
    flat.gradients.fill_(100.0)
    flat.clip(0)
    assert bool((flat.gradients == 100).all())


def test_a_parameter_without_part_in_a_step_has_a_gradient_of_zero() -> None:
    trained = parameters()
    flat = FlatGradients(trained, room=0)
    flat.clear()
    trained[0].sum().backward()
    assert trained[1].grad is not None and float(trained[1].grad.abs().sum()) == 0.0


def test_learning_rates_follow_the_multiplier_of_each_group() -> None:
    one, two, _ = parameters()
    optimizer = torch.optim.AdamW(
        [{"params": [one], "lr": 0.1, "name": "unet"}, {"params": [two], "lr": 0.01, "name": "text_encoder"}]
    )
    rates = LearningRates(optimizer)
    rates.set(0.5)
    rates.set(0.25)
    assert rates.current() == {"lr/unet": pytest.approx(0.025), "lr/text_encoder": pytest.approx(0.0025)}


def test_a_schedule_free_optimizer_shows_its_average_while_used_and_trains_on() -> None:
    weight = nn.Parameter(torch.ones(4))
    optimizer = schedulefree.AdamWScheduleFree([weight], lr=0.1)
    optimizer.train()
    for _ in range(5):
        weight.grad = weight.detach().clone()
        optimizer.step()
    training = weight.detach().clone()
    with weights_for_use(optimizer):
        averaged = weight.detach().clone()
    assert not torch.allclose(training, averaged)
    assert torch.allclose(weight, training, atol=1e-6)

"""Distances and weights against formulas written out again in plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from sweeplora.diffusion.losses import Loss
from sweeplora.diffusion.targets import Noising, add_noise, target
from sweeplora.diffusion.timesteps import stratified, uniform
from sweeplora.errors import UserError

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0)
ALL = torch.arange(1000)


def losses(prediction: str, difference: float, **options: object) -> list[float]:
    plain = {
        "kind": "l2",
        "huber_c": None,
        "huber_schedule": None,
        "min_snr_gamma": None,
        "debiased": False,
    }
    loss = Loss(**(plain | options))
    output = torch.full((1000, 2, 3, 3), difference)
    return loss(output, torch.zeros_like(output), ALL, Noising(ALPHAS, prediction)).tolist()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_and_debiased_weights_at_every_timestep(prediction: str) -> None:
    found = losses(prediction, 1.0, min_snr_gamma=5.0)
    both = losses(prediction, 1.0, min_snr_gamma=5.0, debiased=True)
    for t in range(1000):
        a = float(ALPHAS[t])
        snr = a / (1 - a)
        base = snr if prediction == "epsilon" else snr + 1
        min_snr = min(snr, 5.0) / base
        debiased = 1 / math.sqrt(min(snr, 1000.0)) if prediction == "epsilon" else 1 / (snr + 1)
        assert found[t] == pytest.approx(min_snr, rel=1e-4)
        assert both[t] == pytest.approx(min_snr * debiased, rel=1e-4)


@pytest.mark.parametrize("schedule", ["snr", "exponential", "constant"])
@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
def test_huber_losses_and_their_schedules_at_every_timestep(kind: str, schedule: str) -> None:
    found = losses("epsilon", 0.7, kind=kind, huber_c=0.2, huber_schedule=schedule)
    for t in range(1000):
        sigma = math.sqrt((1 - float(ALPHAS[t])) / float(ALPHAS[t]))
        c = {"snr": 0.8 / (1 + sigma) ** 2 + 0.2, "exponential": 0.2 ** (t / 1000), "constant": 0.2}[schedule]
        scale = 2 * c if kind == "huber" else 2
        assert found[t] == pytest.approx(scale * (math.sqrt(0.49 + c * c) - c), rel=1e-4)


def test_losses_are_per_sample_means() -> None:
    output = torch.stack([torch.full((4, 2, 2), 1.0), torch.full((4, 2, 2), 3.0)])
    loss = Loss("l1", None, None, None, False)
    found = loss(output, torch.zeros_like(output), torch.tensor([5, 900]), Noising(ALPHAS, "epsilon"))
    assert found.tolist() == [1.0, 3.0]


def test_a_huber_option_without_huber_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"loss\.huber_c=0\.3.*loss\.kind=l2"):
        Loss("l2", 0.3, None, None, False)


def test_v_and_epsilon_targets_give_back_the_clean_latents() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 5, 4, 3, 3, generator=generator, dtype=torch.float64)
    a = ALPHAS[torch.tensor([0, 10, 400, 800, 999])]
    noisy = add_noise(clean, noise, a)
    v = target(clean, noise, a, "v_prediction")
    scale = a.view(-1, 1, 1, 1)
    assert torch.allclose(scale.sqrt() * noisy - (1 - scale).sqrt() * v, clean)
    assert torch.equal(target(clean, noise, a, "epsilon"), noise)


def test_timesteps_cover_the_asked_range_evenly() -> None:
    drawn = uniform([torch.Generator().manual_seed(i) for i in range(4000)], 200, 600)
    assert int(drawn.min()) >= 200 and int(drawn.max()) < 600
    counts = torch.histc(drawn.float(), bins=4, min=200, max=600)
    assert (counts - 1000).abs().max() < 120


def test_stratified_timesteps_fall_one_in_each_part() -> None:
    for seed in range(50):
        steps = stratified(torch.Generator().manual_seed(seed), 8, 1000)
        assert (steps * 8 // 1000).tolist() == list(range(8))

"""Distances and weights at every noise level: formulas written again in plain Python, and the reference's numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeplora.diffusion.losses import Loss
from sweeplora.diffusion.targets import Noising, add_noise, target
from sweeplora.diffusion.timesteps import stratified, uniform
from sweeplora.errors import UserError

ALL = torch.arange(1000)
REFERENCE = json.loads((Path(__file__).parents[1] / "expected" / "loss_weights.json").read_text())
PLAIN: dict[str, Any] = {
    "kind": "l2",
    "huber_c": None,
    "huber_schedule": None,
    "huber_scale": None,
    "min_snr_gamma": None,
    "debiased": False,
    "v_pred_like": None,
    "scale_v_like_epsilon": False,
}


def alphas(zero_terminal_snr: bool) -> torch.Tensor:
    """SDXL's cumulative alphas; rescaled as in Lin et al. 2023, arXiv:2305.08891, algorithm 1."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    roots = torch.cumprod(1 - betas, 0).sqrt()
    if zero_terminal_snr:
        roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    return roots**2


def losses(prediction: str, difference: float, *, zero_terminal_snr: bool = False, **options: object) -> list[float]:
    output = torch.full((1000, 2, 3, 3), difference)
    noising = Noising(alphas(zero_terminal_snr), prediction)  # type: ignore[arg-type]
    return Loss(**(PLAIN | options))(output, torch.zeros_like(output), ALL, noising).tolist()


def weight(t: int, prediction: str, zero_terminal_snr: bool, options: dict[str, Any]) -> float:
    """The product of the weights, as the guide has them, with an SNR of at least 1/1000 where they divide by it."""
    a = float(alphas(zero_terminal_snr)[t])
    snr = a / (1 - a)
    product = 1.0
    if gamma := options.get("min_snr_gamma"):
        product *= min(snr, gamma) / (snr + 1) if prediction == "v_prediction" else min(1.0, gamma / max(snr, 1e-30))
    capped = min(snr, 1000)
    if options.get("scale_v_like_epsilon"):
        product *= capped / (capped + 1)
    if share := options.get("v_pred_like"):
        least = max(capped, 1e-3)
        product *= 1 + share * (least + 1) / least
    if options.get("debiased"):
        product *= 1 / (capped + 1) if prediction == "v_prediction" else 1 / math.sqrt(max(capped, 1e-3))
    return product


WEIGHTS: list[tuple[str, dict[str, Any]]] = [
    ("epsilon", {"min_snr_gamma": 5.0}),
    ("epsilon", {"debiased": True}),
    ("epsilon", {"v_pred_like": 0.5}),
    ("epsilon", {"min_snr_gamma": 1.0, "debiased": True, "v_pred_like": 0.5}),
    ("v_prediction", {"min_snr_gamma": 5.0}),
    ("v_prediction", {"debiased": True}),
    ("v_prediction", {"scale_v_like_epsilon": True}),
    ("v_prediction", {"min_snr_gamma": 1.0, "debiased": True, "scale_v_like_epsilon": True}),
]


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize(("prediction", "options"), WEIGHTS)
def test_weights_at_every_timestep_are_finite_and_multiply(
    prediction: str, options: dict[str, Any], zero_terminal_snr: bool
) -> None:
    found = losses(prediction, 1.0, zero_terminal_snr=zero_terminal_snr, **options)
    expected = [weight(t, prediction, zero_terminal_snr, options) for t in range(1000)]
    assert all(map(math.isfinite, found))
    assert found == pytest.approx(expected, rel=2e-5, abs=1e-12)


@pytest.mark.parametrize("case", REFERENCE["weights"], ids=lambda case: f"{case['prediction']}-{case['given']}")
def test_weights_are_the_references_where_those_are_finite(case: dict[str, Any]) -> None:
    found = losses(case["prediction"], 1.0, zero_terminal_snr=case["zero_terminal_snr"], **case["given"])
    a = alphas(case["zero_terminal_snr"])
    for t, expected in zip(REFERENCE["timesteps"], case["weights"], strict=True):
        # Below 1/1000 weights that divide by the SNR are bounded here and grow without end there. Its SNRs are
        # differences of float32 numbers: near the clean end they hold four digits.
        if expected is not None and float(a[t] / (1 - a[t])) >= 1e-3:
            assert found[t] == pytest.approx(expected, rel=3e-4), t
        assert math.isfinite(found[t])


@pytest.mark.parametrize("case", REFERENCE["distances"], ids=lambda case: str(case["given"]))
def test_huber_distances_are_the_references(case: dict[str, Any]) -> None:
    found = losses("epsilon", 0.7, zero_terminal_snr=case["zero_terminal_snr"], **case["given"])
    assert [found[t] for t in REFERENCE["timesteps"]] == pytest.approx(case["losses"], rel=1e-4)


@pytest.mark.parametrize("schedule", ["snr", "exponential", "constant"])
@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
def test_huber_losses_and_their_schedules_at_every_timestep(kind: str, schedule: str) -> None:
    scale = None if schedule == "snr" else 1.5
    found = losses("epsilon", 0.7, kind=kind, huber_c=0.2, huber_schedule=schedule, huber_scale=scale)
    for t in range(1000):
        a = float(alphas(False)[t])
        sigma = math.sqrt((1 - a) / a)
        c = {"snr": 0.8 / (1 + sigma) ** 2 + 0.2, "exponential": 1.5 * 0.2 ** (t / 1000), "constant": 0.3}[schedule]
        times = 2 * c if kind == "huber" else 2
        assert found[t] == pytest.approx(times * (math.sqrt(0.49 + c * c) - c), rel=1e-4)


def test_losses_are_per_sample_means() -> None:
    output = torch.stack([torch.full((4, 2, 2), 1.0), torch.full((4, 2, 2), 3.0)])
    loss = Loss(**(PLAIN | {"kind": "l1"}))
    found = loss(output, torch.zeros_like(output), torch.tensor([5, 900]), Noising(alphas(False), "epsilon"))
    assert found.tolist() == [1.0, 3.0]


def test_a_mask_weighs_elements_and_the_mean_is_still_over_all_of_them() -> None:
    output = torch.ones(2, 4, 2, 2)
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    for kind, whole in (("l2", 1.0), ("huber", 2 * 0.1 * (math.sqrt(1.01) - 0.1))):
        loss = Loss(**(PLAIN | {"kind": kind, "huber_schedule": "constant" if kind == "huber" else None}))
        noising = Noising(alphas(False), "epsilon")
        found = loss(output, torch.zeros_like(output), torch.tensor([5, 900]), noising, mask)
        assert found.tolist() == pytest.approx([whole * 1.5 / 4, whole], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"huber_c": 0.3}, r"loss\.huber_c=0\.3.*loss\.kind=l2"),
        ({"huber_scale": 2.0}, r"loss\.huber_scale=2\.0.*loss\.kind=l2"),
        ({"kind": "huber", "huber_scale": 2.0}, r"loss\.huber_scale=2\.0.*snr schedule"),
    ],
)
def test_a_huber_option_without_effect_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Loss(**(PLAIN | options))


def test_v_and_epsilon_targets_give_back_the_clean_latents() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 5, 4, 3, 3, generator=generator, dtype=torch.float64)
    a = alphas(False)[torch.tensor([0, 10, 400, 800, 999])]
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

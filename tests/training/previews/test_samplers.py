"""Noise levels of every sampler: the reference's numbers, formulas of their own, and pictures that are known."""

from __future__ import annotations

import itertools
import json
import math
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Generator, Tensor

from sweeplora.errors import UserError
from sweeplora.training.previews.samplers import WITHOUT_KARRAS, Sampler, check_sampler
from sweeplora.training.previews.schedulers import make_scheduler

REFERENCE = json.loads((Path(__file__).parents[2] / "expected/samplers/sigmas.json").read_text())["samplers"]
SAMPLERS = get_args(Sampler)
COUNTS = (10, 20, 28, 30)
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
PRODUCTS = np.cumprod(1 - BETAS)
SIGMAS = np.sqrt(1 / PRODUCTS - 1)


def made(sampler: str, steps: int, karras: bool = False) -> Any:
    scheduler = make_scheduler(sampler, karras, "epsilon", torch.from_numpy(PRODUCTS))
    scheduler.set_timesteps(steps)
    return scheduler


def zero_terminal() -> Tensor:
    roots = np.sqrt(PRODUCTS)
    return torch.from_numpy(((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2)


def at(timesteps: np.ndarray) -> np.ndarray:
    return np.interp(timesteps, np.arange(1000), SIGMAS)


def levels(sampler: str, steps: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Timesteps and sigmas of a sampler without `k_`, from their definitions; dpm_2's timesteps are left out."""
    even = np.linspace(0, 999, steps)[::-1]
    sigmas = np.append(at(even), 0)
    doubled = [*sigmas[:1], *np.repeat(sigmas[1:-1], 2), 0]
    match sampler:
        case "ddim":
            return np.arange(steps)[::-1] * (1000 // steps), None
        case "pndm":
            last = np.arange(steps)[::-1] * (1000 // steps)
            half = 1000 // steps // 2
            pairs = itertools.pairwise(last[:4])
            opening = [t for high, low in pairs for t in (high, low + half, low + half, low)]
            return np.array([*opening, *last[3:]]), None
        case "euler" | "lms" | "euler_a":
            return even, sigmas
        case "heun":
            return np.repeat(even, 2)[1:], np.array(doubled)
        case "dpmsolver" | "dpmsolver++" | "dpmsingle":
            coarse = np.linspace(0, 999, steps + 1).round()[::-1][:-1]
            return coarse, np.append(at(coarse), SIGMAS[0] if sampler == "dpmsolver" else 0)
        case _:
            raise AssertionError(sampler)


@pytest.mark.parametrize("steps", COUNTS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_noise_levels_are_the_references(sampler: str, steps: int) -> None:
    known = REFERENCE[sampler]
    known = REFERENCE[known] if isinstance(known, str) else known
    if sampler == "dpmsolver":
        assert known is None
        return
    expected, scheduler = known[str(steps)], made(sampler, steps)
    assert [float(t) for t in scheduler.timesteps] == pytest.approx(expected["timesteps"], rel=1e-5, abs=2e-3)
    assert float(scheduler.init_noise_sigma) == pytest.approx(expected["init"], rel=1e-6)
    if "sigmas" in expected:
        assert scheduler.sigmas.tolist() == pytest.approx(expected["sigmas"], rel=2e-6, abs=1e-7)


@pytest.mark.parametrize("steps", COUNTS)
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if "dpm_2" not in name])
def test_noise_levels_are_those_of_the_formulas(sampler: str, steps: int) -> None:
    timesteps, sigmas = levels(sampler.removeprefix("k_"), steps)
    scheduler = made(sampler, steps)
    assert scheduler.timesteps.tolist() == pytest.approx(list(timesteps), abs=1e-3)
    if sigmas is not None:
        assert scheduler.sigmas.tolist() == pytest.approx(list(sigmas), rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("steps", COUNTS)
def test_dpm_2_steps_over_the_geometric_middle(steps: int) -> None:
    sigmas = at(np.linspace(0, 999, steps)[::-1])
    between = np.sqrt(sigmas[:-1] * sigmas[1:])
    for sampler in ("dpm_2", "k_dpm_2"):
        assert made(sampler, steps).sigmas_interpol[1 : 2 * steps - 1 : 2].tolist() == pytest.approx(
            list(between), rel=2e-5
        )


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in WITHOUT_KARRAS])
def test_karras_sigmas_are_the_papers(sampler: str) -> None:
    high, low = SIGMAS[-1] ** (1 / 7), SIGMAS[0] ** (1 / 7)
    expected = (high + np.linspace(0, 1, 10) * (low - high)) ** 7
    sigmas = made(sampler, 10, karras=True).sigmas.double().numpy()
    found = np.unique(sigmas[sigmas > 0].round(5))[::-1]
    assert list(found) == pytest.approx(list(expected), rel=1e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_karras_sigmas_are_refused_where_they_change_nothing(sampler: Any) -> None:
    if sampler not in WITHOUT_KARRAS:
        check_sampler(sampler, 20, karras=True)
        return
    with pytest.raises(UserError, match=f"sample.karras=True: sampler {sampler} has no Karras sigmas; use false"):
        check_sampler(sampler, 20, karras=True)


def test_pndm_needs_its_four_first_steps() -> None:
    check_sampler("pndm", 4, karras=False)
    with pytest.raises(UserError, match=r"sample\.steps=3: sampler pndm needs at least 4"):
        check_sampler("pndm", 3, karras=False)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_zero_terminal_snr_every_sampler_begins_at_the_last_timestep(sampler: str) -> None:
    products = zero_terminal()
    scheduler = make_scheduler(sampler, False, "v_prediction", products)
    scheduler.set_timesteps(20)
    assert float(scheduler.timesteps[0]) == 999
    found = scheduler.alphas_cumprod.double()
    torch.testing.assert_close(found[:-1], products[:-1], rtol=1e-3, atol=1e-9)
    assert 0 < float(found[-1]) < 1e-7


def test_the_rescaled_schedule_is_diffusers_own() -> None:
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    theirs: Any = EulerDiscreteScheduler(**config, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    ours = make_scheduler("euler", False, "v_prediction", zero_terminal())
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(20)
    torch.testing.assert_close(ours.sigmas, theirs.sigmas, rtol=2e-3, atol=1e-5)


MEAN, DEVIATION = 0.7, 0.5


def sampled(scheduler: Any, products: Tensor, prediction: str) -> Tensor:
    """What a sampler draws when every pixel is normal with a known mean, from the exact prediction for it."""
    generator = Generator().manual_seed(0)
    sigmas = (1 / products.clamp_min(2**-24) - 1).sqrt().numpy()
    extra = {"generator": generator} if "generator" in signature(scheduler.step).parameters else {}
    x = torch.randn(1, 1, 48, 48, generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        alpha = 1 / (1 + float(np.interp(float(timestep), np.arange(1000), sigmas)) ** 2)
        root, rest = math.sqrt(alpha), math.sqrt(1 - alpha)
        noisy = scheduler.scale_model_input(x, timestep)
        clean = MEAN + DEVIATION**2 * root / (alpha * DEVIATION**2 + 1 - alpha) * (noisy - root * MEAN)
        noise = (noisy - root * clean) / rest
        output = noise if prediction == "epsilon" else root * noise - rest * clean
        x = scheduler.step(output, timestep, x, **extra).prev_sample
    return x


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "zero_terminal"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_the_known_distribution(sampler: str, kind: str) -> None:
    products = zero_terminal() if kind == "zero_terminal" else torch.from_numpy(PRODUCTS)
    prediction = "epsilon" if kind == "epsilon" else "v_prediction"
    scheduler = make_scheduler(sampler, False, prediction, products)
    scheduler.set_timesteps(50)
    drawn = sampled(scheduler, products, prediction)
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.05)
    assert float(drawn.std()) == pytest.approx(DEVIATION, abs=0.06)

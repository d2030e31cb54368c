"""Noise: its spectrum by calculation and by the reference, strengths, and independence of the samples of a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from sweeplora.diffusion.noise import Gaussian, PerturbsInput, channel_offset, pyramid
from sweeplora.errors import UserError

REFERENCE = json.loads((Path(__file__).parents[1] / "expected" / "noise_spectrum.json").read_text())
PLAIN: dict[str, Any] = {
    "offset": 0.0,
    "offset_random_strength": False,
    "adaptive_scale": 0.0,
    "multires_iterations": 0,
    "multires_discount": None,
    "input_gamma": 0.0,
    "input_gamma_random_strength": False,
}


def generators(*seeds: int) -> list[Generator]:
    return [Generator().manual_seed(seed) for seed in seeds]


def make(latents: Tensor, seeds: tuple[int, ...], **options: object) -> Tensor:
    return Gaussian(**(PLAIN | options))(latents, generators(*seeds))


def test_a_sample_gets_the_same_noise_alone_and_in_any_batch() -> None:
    latents = torch.randn(3, 4, 8, 12, generator=Generator().manual_seed(0))
    options = {"offset": 0.1, "offset_random_strength": True, "multires_iterations": 4}
    together = make(latents, (1, 2, 3), **options)
    alone = make(latents[1:2], (2,), **options)
    assert torch.equal(together[1:2], alone)


def test_options_do_not_change_the_plain_noise_underneath() -> None:
    latents = torch.zeros(1, 4, 16, 16)
    plain = make(latents, (5,))
    offset = make(latents, (5,), offset=0.3)
    difference = offset - plain
    assert difference.abs().max() > 0
    assert torch.allclose(difference, difference[..., :1, :1].expand_as(difference), atol=1e-6)


def test_offset_has_the_asked_deviation_and_no_mean() -> None:
    latents = torch.zeros(4000, 4, 2, 2)
    noise = make(latents, tuple(range(4000)), offset=0.5) - make(latents, tuple(range(4000)))
    per_channel = noise[:, :, 0, 0]
    assert per_channel.std().item() == pytest.approx(0.5, rel=0.02)
    assert per_channel.mean().item() == pytest.approx(0.0, abs=0.02)


def test_adaptive_scale_adds_the_channels_mean_and_never_goes_below_zero() -> None:
    latent = torch.stack([torch.full((2, 2), value) for value in (0.0, 1.0, -2.0)])
    draw = channel_offset(latent, 0.1, 0.2, Generator().manual_seed(0)).flatten()
    unit = torch.randn((3, 1, 1), generator=Generator().manual_seed(0)).flatten()
    assert torch.allclose(draw / unit, torch.tensor([0.1, 0.3, 0.5]))
    cancelled = channel_offset(latent, 0.1, -0.2, Generator().manual_seed(0)).flatten()
    assert torch.allclose(cancelled / unit, torch.tensor([0.1, 0.0, 0.0]))


def test_random_strength_is_uniform_below_the_offset() -> None:
    seeds = tuple(range(6000))
    latents = torch.zeros(len(seeds), 1, 1, 1)
    added = make(latents, seeds, offset=0.6, offset_random_strength=True) - make(latents, seeds)
    # The product of U(0, x) and a unit normal has variance x^2 / 3.
    assert added.var().item() == pytest.approx(0.36 / 3, rel=0.06)


def test_pyramid_has_unit_deviation_and_more_power_at_low_frequencies() -> None:
    noises = [pyramid(torch.randn(4, 32, 32, generator=g), 6, 0.5, g) for g in generators(*range(60))]
    for noise in noises:
        assert noise.std().item() == pytest.approx(1.0, abs=1e-5)
    power = torch.stack([torch.fft.fft2(noise).abs().square().mean(0) for noise in noises]).mean(0)
    low, high = power[:3, :3].mean(), power[12:20, 12:20].mean()
    assert low > 2.5 * high


def spectrum(noises: Tensor) -> list[float]:
    """Mean power of noises [N, C, H, W] in bands of the radial frequency, as the reference's numbers have it."""
    height, width = noises.shape[2:]
    down = torch.fft.fftfreq(height).view(-1, 1)
    radius = (down.square() + torch.fft.fftfreq(width).square()).sqrt()
    power = torch.fft.fft2(noises.double()).abs().square().mean((0, 1)) / (height * width)
    edges = zip(REFERENCE["edges"], REFERENCE["edges"][1:], strict=False)
    return [float(power[(radius >= low) & (radius < high)].mean()) for low, high in edges]


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: str(case["given"]))
def test_the_spectrum_is_the_references(case: dict[str, Any]) -> None:
    seeds = tuple(range(1500))
    noises = make(torch.zeros(len(seeds), *REFERENCE["shape"]), seeds, **case["given"])
    assert float(noises.std((1, 2, 3)).mean()) == pytest.approx(case["std"], abs=2e-3)
    found = spectrum(noises)
    # The lowest band is one frequency: its mean over the draws is known to a few percent only.
    assert found[0] == pytest.approx(case["power"][0], rel=0.1)
    assert found[1:] == pytest.approx(case["power"][1:], rel=0.04)


def widened(size: int, coarse: int) -> np.ndarray[Any, Any]:
    """Power by frequency [size] of unit noise on `coarse` points, drawn out linearly to `size`; written by hand."""
    matrix = np.zeros((size, coarse))
    for pixel in range(size):
        place = min(max((pixel + 0.5) * coarse / size - 0.5, 0.0), coarse - 1.0)
        left = int(place)
        matrix[pixel, left] += 1 - (place - left)
        matrix[pixel, min(left + 1, coarse - 1)] += place - left
    power: np.ndarray[Any, Any] = (np.abs(np.fft.fft(matrix, axis=0)) ** 2).sum(1) / size
    return power


def test_the_pyramids_spectrum_is_the_sum_of_its_levels_averaged_over_r() -> None:
    height, width, discount, iterations = 24, 32, 0.4, 6
    expected = np.ones((height, width))
    reached = 1.0
    for level in range(iterations):
        shapes = [(max(1, int(height / r**level)), max(1, int(width / r**level))) for r in np.linspace(2, 4, 201)]
        powers = np.mean([np.outer(widened(height, h), widened(width, w)) for h, w in shapes], axis=0)
        expected += reached * discount ** (2 * level) * powers
        reached *= float(np.mean([h > 1 and w > 1 for h, w in shapes]))
    expected /= expected.mean()
    noises = torch.stack([
        pyramid(torch.randn(4, height, width, generator=g), iterations, discount, g) for g in generators(*range(1500))
    ])  # fmt: skip
    power = (torch.fft.fft2(noises.double()).abs().square().mean((0, 1)) / (height * width)).numpy()
    for block in ((slice(0, 1), slice(0, 1)), (slice(0, 3), slice(1, 4)), (slice(3, 9), slice(0, 9))):
        assert power[block].mean() == pytest.approx(expected[block].mean(), rel=0.06)
    assert power[9:15, 9:23].mean() == pytest.approx(expected[9:15, 9:23].mean(), rel=0.02)


def test_pyramid_stops_after_the_first_level_of_one_pixel() -> None:
    one = Generator().manual_seed(3)
    two = Generator().manual_seed(3)
    base = torch.randn(1, 4, 4, generator=Generator().manual_seed(9))
    # Sides of 4 shrink by at least 2 a level: one pixel is reached at level 2 at the latest.
    assert torch.equal(pyramid(base, 3, 0.3, one), pyramid(base, 50, 0.3, two))


def test_the_input_gets_more_noise_and_the_target_keeps_its_own() -> None:
    noise_of = Gaussian(**(PLAIN | {"input_gamma": 0.5}))
    assert isinstance(noise_of, PerturbsInput)
    latents = torch.zeros(300, 4, 8, 8)
    noise = noise_of(latents, generators(*range(300)))
    assert torch.equal(noise, make(latents, tuple(range(300))))
    extra = noise_of.for_input(noise, generators(*range(1000, 1300))) - noise
    assert extra.std().item() == pytest.approx(0.5, rel=0.02)
    correlation = (extra * noise).mean() / 0.5
    assert abs(correlation.item()) < 0.02


def test_the_inputs_noise_is_each_samples_own_and_without_gamma_it_is_the_noise() -> None:
    noise = torch.randn(3, 4, 4, 4, generator=Generator().manual_seed(7))
    options = {"input_gamma": 0.1, "input_gamma_random_strength": True}
    perturbing = Gaussian(**(PLAIN | options))
    together = perturbing.for_input(noise, generators(1, 2, 3))
    assert torch.equal(together[1:2], perturbing.for_input(noise[1:2], generators(2)))
    assert Gaussian(**PLAIN).for_input(noise, generators(1, 2, 3)) is noise


def test_a_random_strength_of_the_inputs_noise_is_uniform_below_gamma() -> None:
    noise = torch.zeros(3000, 1, 8, 8)
    options = {"input_gamma": 0.4, "input_gamma_random_strength": True}
    strengths = Gaussian(**(PLAIN | options)).for_input(noise, generators(*range(3000))).std((1, 2, 3))
    assert strengths.mean().item() == pytest.approx(0.2, rel=0.03)
    assert strengths.quantile(0.25).item() == pytest.approx(0.1, rel=0.08)


@pytest.mark.parametrize(
    ("option", "value", "needs"),
    [
        ("offset_random_strength", True, "noise.offset"),
        ("adaptive_scale", 0.1, "noise.offset"),
        ("multires_discount", 0.5, "noise.multires_iterations"),
        ("input_gamma_random_strength", True, "noise.input_gamma"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(option: str, value: object, needs: str) -> None:
    with pytest.raises(UserError, match=f"noise.{option}.*{needs}"):
        make(torch.zeros(1, 4, 4, 4), (0,), **{option: value})

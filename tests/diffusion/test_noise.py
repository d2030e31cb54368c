"""Noise: spectrum, strengths, and independence of the samples of a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from sweeplora.diffusion.noise import Gaussian, channel_offset, pyramid
from sweeplora.errors import UserError


def generators(*seeds: int) -> list[Generator]:
    return [Generator().manual_seed(seed) for seed in seeds]


def make(latents: Tensor, seeds: tuple[int, ...], **options: object) -> Tensor:
    plain = {
        "offset": 0.0,
        "offset_random_strength": False,
        "adaptive_scale": 0.0,
        "multires_iterations": 0,
        "multires_discount": None,
    }
    return Gaussian(**(plain | options))(latents, generators(*seeds))


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


def test_pyramid_stops_after_the_first_level_of_one_pixel() -> None:
    one = Generator().manual_seed(3)
    two = Generator().manual_seed(3)
    base = torch.randn(1, 4, 4, generator=Generator().manual_seed(9))
    # Sides of 4 shrink by at least 2 a level: one pixel is reached at level 2 at the latest.
    assert torch.equal(pyramid(base, 3, 0.3, one), pyramid(base, 50, 0.3, two))


@pytest.mark.parametrize(
    ("option", "value", "needs"),
    [
        ("offset_random_strength", True, "noise.offset"),
        ("adaptive_scale", 0.1, "noise.offset"),
        ("multires_discount", 0.5, "noise.multires_iterations"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(option: str, value: object, needs: str) -> None:
    with pytest.raises(UserError, match=f"noise.{option}.*{needs}"):
        make(torch.zeros(1, 4, 4, 4), (0,), **{option: value})

"""Training noise: Gaussian, with an offset per channel and coarser levels added on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import torch
from annotated_types import Ge, Interval
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from sweeplora.errors import UserError

_DEFAULT_DISCOUNT = 0.3


@runtime_checkable
class PerturbsInput(Protocol):
    """A noise whose noisy input contains a different noise from the one that the model must predict."""

    def for_input(self, noise: Tensor, generators: Sequence[Generator]) -> Tensor:
        """The noise in the noisy input instead of `noise` [B, C, H, W]; sample i draws from generator i."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Plain noise with optional additions, each off at zero.

    offset: strength of one constant per channel and sample. offset_random_strength: draw it uniformly from 0 to
    offset instead. adaptive_scale: adds this multiple of the channel's absolute mean to the offset.
    multires_iterations: levels of pyramid noise, each weighted by multires_discount (None: 0.3) relative to the
    previous one. input_gamma: strength of extra noise in the input only. input_gamma_random_strength: draw it
    uniformly from 0 to input_gamma instead.
    """

    offset: Annotated[float, Ge(0)]
    offset_random_strength: bool
    adaptive_scale: float
    multires_iterations: Annotated[int, Ge(0)]
    multires_discount: Annotated[float, Interval(gt=0, le=1)] | None
    input_gamma: Annotated[float, Ge(0)]
    input_gamma_random_strength: bool

    def __post_init__(self) -> None:
        idle = "has no effect without noise.offset; give an offset or leave it out"
        if not self.offset and self.offset_random_strength:
            raise UserError("noise.offset_random_strength", True, idle)
        if not self.offset and self.adaptive_scale:
            raise UserError("noise.adaptive_scale", self.adaptive_scale, idle)
        if not self.multires_iterations and self.multires_discount is not None:
            mend = "has no effect without noise.multires_iterations; give some levels or leave it null"
            raise UserError("noise.multires_discount", self.multires_discount, mend)
        if not self.input_gamma and self.input_gamma_random_strength:
            mend = "has no effect without noise.input_gamma; give a strength or leave it out"
            raise UserError("noise.input_gamma_random_strength", True, mend)

    def __call__(self, latents: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Noise of the shape of `latents` [B, C, H, W], float32 on their device; sample i draws from generator i.

        The plain part is drawn first, so that runs that differ only in these options get the same plain noise.
        The offset comes before the pyramid, as in sd-scripts. Strengths and r are drawn per sample; sd-scripts
        draws them once per batch.
        """
        pairs = zip(latents.float().cpu(), generators, strict=True)
        return torch.stack([self._one(latent, generator) for latent, generator in pairs]).to(latents.device)

    def for_input(self, noise: Tensor, generators: Sequence[Generator]) -> Tensor:
        """`noise` [B, C, H, W] plus extra noise of strength input_gamma (Ning et al. 2023, arXiv:2301.11706)."""
        if not self.input_gamma:
            return noise
        return noise + torch.stack([self._extra(noise[0], generator) for generator in generators]).to(noise.device)

    def _one(self, latent: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(latent.shape, generator=generator)
        if self.offset:
            strength = _strength(self.offset, self.offset_random_strength, generator)
            noise = noise + channel_offset(latent, strength, self.adaptive_scale, generator)
        if self.multires_iterations:
            discount = _DEFAULT_DISCOUNT if self.multires_discount is None else self.multires_discount
            noise = pyramid(noise, self.multires_iterations, discount, generator)
        return noise

    def _extra(self, like: Tensor, generator: Generator) -> Tensor:
        extra = torch.randn(like.shape, generator=generator)
        return extra * _strength(self.input_gamma, self.input_gamma_random_strength, generator)


def _strength(most: float, is_random: bool, generator: Generator) -> float:
    return most * float(torch.rand((), generator=generator)) if is_random else most


def channel_offset(latent: Tensor, offset: float, scale: float, generator: Generator) -> Tensor:
    """One constant per channel, [C, 1, 1]: max(0, offset + scale |mean of the channel|) times a normal draw.

    `latent` is [C, H, W]. Source: Guttenberg 2023, "Diffusion with offset noise"; the adaptive term is
    sd-scripts' `adaptive_noise_scale`.
    """
    mean = latent.mean(dim=(1, 2), keepdim=True).abs()
    strength = (offset + scale * mean).clamp(min=0.0)
    return strength * torch.randn((latent.shape[0], 1, 1), generator=generator)


def pyramid(noise: Tensor, iterations: int, discount: float, generator: Generator) -> Tensor:
    """Noise [C, H, W] plus `discount`**i times noise of 1/r**i its size, i = 0, 1, ..., rescaled to unit deviation.

    r is uniform in [2, 4], redrawn for each level; the pyramid stops after the first level with a side of one pixel.
    Source: Whitaker 2023, "Multi-resolution noise for diffusion model training".
    """
    channels, height, width = noise.shape
    for level in range(iterations):
        ratio = 2.0 + 2.0 * float(torch.rand((), generator=generator))
        rows, columns = (max(1, int(side / ratio**level)) for side in (height, width))
        coarse = torch.randn((1, channels, rows, columns), generator=generator)
        # The first level already has full size.
        fine = interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False) if level else coarse
        noise = noise + discount**level * fine[0]
        if rows == 1 or columns == 1:
            break
    return noise / noise.std()

"""The autoencoder: 64 pixel pictures to 16 x 16 latents of four channels and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .training import Plan, Training, generator

KL_WEIGHT = 1e-4
SHIFT = 8


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder with a four-fold reduction; its scaling factor is measured after training."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
        force_upcast=False,
    )


def stack(pictures: Iterable[Image.Image]) -> Tensor:
    """RGB pictures of one size as a uint8 tensor (count, 3, height, width)."""
    return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])


def as_input(pixels: Tensor) -> Tensor:
    """uint8 pixels as floats on [-1, 1], in the memory layout that convolutions like."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def augmented(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """A batch with half of it mirrored, all of it moved by up to 8 pixels over white."""
    mirrored = torch.rand(len(pixels), generator=rng) < 0.5
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
    height, width = pixels.shape[-2:]
    padded = functional.pad(pixels, (SHIFT,) * 4, value=255)
    top, left = torch.randint(2 * SHIFT + 1, (2,), generator=rng).tolist()
    return padded[..., top : top + height, left : left + width]


def reconstruction_loss(vae: AutoencoderKL, images: Tensor, noise: Tensor) -> Tensor:
    """L2 + L1 + L1 of the gradients + a small Kullback-Leibler term, of (batch, 3, h, w) on [-1, 1]."""
    posterior = vae.encode(images).latent_dist
    decoded = vae.decode(posterior.mean + posterior.std * noise).sample
    error = decoded - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    divergence = 0.5 * (posterior.mean.pow(2) + posterior.var - 1 - posterior.logvar).mean()
    return error.pow(2).mean() + 0.2 * error.abs().mean() + 0.2 * edges + KL_WEIGHT * divergence


def train_vae(pixels: Tensor, plan: Plan, seed: int, path: Path, batch_size: int = 16) -> Training[AutoencoderKL]:
    """Train on uint8 pictures (count, 3, 64, 64), from the checkpoint at `path` where there is one."""
    torch.manual_seed(seed)
    vae: AutoencoderKL = new_vae().to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    training = Training(vae, plan, path)

    def loss(step: int, part: int) -> Tensor:
        rng = generator(seed, f"vae {part}", step)
        chosen = pixels[torch.randint(len(pixels), (batch_size,), generator=rng)]
        images = as_input(augmented(chosen, rng))
        side = images.shape[-1] // 4
        noise = torch.randn(batch_size, 4, side, side, generator=rng)
        return reconstruction_loss(training.module, images, noise)

    training.run(loss)
    return training


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: Tensor, batch_size: int = 64) -> Tensor:
    """The unscaled posterior means of uint8 pictures."""
    return torch.cat([vae.encode(as_input(part)).latent_dist.mean for part in pixels.split(batch_size)])


@torch.no_grad()
def round_trip_error(vae: AutoencoderKL, pixels: Tensor, batch_size: int = 64) -> float:
    """The mean squared error on [-1, 1] of encoding (posterior mean) and decoding uint8 pictures."""
    total = 0.0
    for part in pixels.split(batch_size):
        images = as_input(part)
        decoded = vae.decode(vae.encode(images).latent_dist.mean).sample
        total += (decoded - images).pow(2).mean().item() * len(part)
    return total / len(pixels)

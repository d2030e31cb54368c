"""The VAE's posterior of pictures, in batches whose size never changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from sweeplora.models.family import Family


def encode(family: Family, pixels: Sequence[Tensor], together: int) -> Iterator[Tensor]:
    """Posterior [2, C, h, w] (mean and standard deviation, float32, on the CPU) of each picture, in order.

    `pixels`: levels [3, H, W], uint8, of pictures of one size. Every batch holds `together` pictures, the last
    one of them repeated where there are fewer, because the size of a batch changes the last bits of what is in
    it. Measured with torch 2.13 on a CPU, the other pictures in a batch change nothing; a picture's place in it
    changes nothing in bfloat16, nor in float32 where `together` and the number of threads are powers of two,
    and up to 2e-6 elsewhere. `together` 1 has one place only. Autocast must be off.
    """
    device = next(family.vae.parameters()).device
    for start in range(0, len(pixels), together):
        part = list(pixels[start : start + together])
        full = torch.stack(part + part[-1:] * (together - len(part)))
        with torch.no_grad():
            mean, std = family.encode_images(full.to(device).float() / 127.5 - 1)
        for posterior in torch.stack((mean, std), dim=1).float().cpu()[: len(part)]:
            yield posterior.clone()  # a view would keep the whole batch in memory


def draw(posteriors: Tensor, noise: Tensor) -> Tensor:
    """Latents [b, C, h, w] from posteriors [b, 2, C, h, w] and standard normal noise [b, C, h, w]."""
    return posteriors[:, 0] + posteriors[:, 1] * noise


def normal(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise that follows from `seed`, on the CPU."""
    return torch.randn(tuple(shape), generator=Generator().manual_seed(seed))

"""The latents of all subjects, encoded once, on a square and on a wide and a tall canvas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from .denoiser import Latents
from .packages import picture_path
from .pictures import compose, open_picture
from .subjects import Subject
from .vae import encode, stack

# (width, height) and the (size, place) of each drawing on it; a drawing named thrice is seen thrice as often.
CANVASES: tuple[tuple[tuple[int, int], tuple[tuple[int, tuple[float, float]], ...]], ...] = (
    ((64, 64), ((64, (0.5, 0.5)),) * 4 + ((56, (0.5, 0.5)),)),
    ((80, 48), ((48, (0.5, 0.5)), (48, (0.0, 0.5)), (48, (1.0, 0.5)))),
    ((48, 80), ((48, (0.5, 0.5)), (48, (0.5, 0.0)), (48, (0.5, 1.0)))),
)


def encode_subjects(
    vae: AutoencoderKL, subjects: Sequence[Subject], work: Path, scaling_factor: float
) -> list[Latents]:
    """The scaled latents of every subject in the Noto style on every canvas."""
    pictures = [open_picture(picture_path(work, "noto", subject.image)) for subject in subjects]
    canvases = []
    for canvas, drawings in CANVASES:
        known: dict[tuple[int, tuple[float, float]], Tensor] = {}
        for size, place in dict.fromkeys(drawings):
            pixels = stack(compose(picture, canvas, size, place) for picture in pictures)
            known[size, place] = encode(vae, pixels) * scaling_factor
        values = torch.stack([known[drawing] for drawing in drawings])
        canvases.append(Latents(values, *canvas))
    return canvases


def measure_scaling_factor(vae: AutoencoderKL, pixels: Tensor) -> float:
    """1 / the standard deviation of the latents of uint8 pictures (Rombach et al. 2022)."""
    return 1.0 / encode(vae, pixels).std().item()

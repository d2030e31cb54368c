"""The forward process and the prediction target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Noising:
    """The base model's noise levels: `alphas_cumprod` [T] and what it predicts."""

    alphas_cumprod: Tensor
    prediction: Prediction


def add_noise(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = sqrt(a) x_0 + sqrt(1 - a) e, with a = `alphas_cumprod` [B] at each sample's timestep (DDPM, eq. 4)."""
    a = _per_sample(alphas_cumprod, latents)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def target(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor, prediction: Prediction) -> Tensor:
    """What the model should predict: e, or v = sqrt(a) e - sqrt(1 - a) x_0 (Salimans & Ho 2022, arXiv:2202.00512)."""
    if prediction == "epsilon":
        return noise
    a = _per_sample(alphas_cumprod, latents)
    return a.sqrt() * noise - (1 - a).sqrt() * latents


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device, like.dtype).view(-1, *[1] * (like.dim() - 1))

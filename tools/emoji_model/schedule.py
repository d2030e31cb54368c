"""SDXL's noise schedule."""

from __future__ import annotations

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import Tensor

MIN_SNR_GAMMA = 5.0


def new_scheduler() -> EulerDiscreteScheduler:
    """The scheduler with SDXL's settings: scaled linear betas, noise prediction, leading steps."""
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        interpolation_type="linear",
        timestep_spacing="leading",
        steps_offset=1,
        use_karras_sigmas=False,
    )


def _signal_share() -> Tensor:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0).float()


SIGNAL_SHARE = _signal_share()


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """sqrt(a) x + sqrt(1 - a) e with the cumulative a of each sample's timestep; (batch, channels, h, w)."""
    share = SIGNAL_SHARE[timesteps][:, None, None, None]
    return share.sqrt() * latents + (1 - share).sqrt() * noise


def min_snr_weight(timesteps: Tensor) -> Tensor:
    """min(snr, gamma) / snr for noise prediction (Hang et al. 2023, arXiv 2303.09556)."""
    share = SIGNAL_SHARE[timesteps]
    snr = share / (1 - share)
    return snr.clamp(max=MIN_SNR_GAMMA) / snr

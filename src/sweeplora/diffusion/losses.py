"""How a prediction's error counts: the distance, and the weight of each noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Interval
from torch import Tensor

from sweeplora.diffusion.targets import Noising, Prediction
from sweeplora.errors import UserError

_HUBER_C = 0.1
_DEBIASED_SNR_CAP = 1000.0


@dataclass(frozen=True)
class Loss:
    """Per-sample loss; the caller reduces.

    kind: l2, l1, huber 2c(sqrt(d^2 + c^2) - c) or smooth_l1 2(sqrt(d^2 + c^2) - c), d the difference.
    huber_c: c at the clean end of its schedule; None means 0.1.
    huber_schedule: how c changes with the noise level, see `huber_threshold`; None means snr.
    min_snr_gamma: weights min(snr, gamma) / snr for epsilon, / (snr + 1) for v (Hang et al. 2023, arXiv:2303.09556).
    debiased: weights 1 / sqrt(min(snr, 1000)) for epsilon, 1 / (snr + 1) for v (Yu et al. 2023, arXiv:2310.08442).
    Both weights multiply where both are asked for, as in sd-scripts.
    """

    kind: Literal["l2", "l1", "huber", "smooth_l1"]
    huber_c: Annotated[float, Interval(gt=0, le=1)] | None
    huber_schedule: Literal["snr", "exponential", "constant"] | None
    min_snr_gamma: Annotated[float, Gt(0)] | None
    debiased: bool

    def __post_init__(self) -> None:
        for key in ("huber_c", "huber_schedule"):
            value = getattr(self, key)
            if value is not None and self.kind in ("l1", "l2"):
                raise UserError(f"loss.{key}", value, f"loss.kind={self.kind} does not use it; leave it null")

    def __call__(self, output: Tensor, target: Tensor, timesteps: Tensor, noising: Noising) -> Tensor:
        """Weighted losses [B] in float32 of model outputs [B, ...] at `timesteps` [B]."""
        a = noising.alphas_cumprod.to(timesteps.device)[timesteps].to(output.device, torch.float32)
        loss = self._distance(output.float() - target.float(), a, timesteps, noising)
        snr = a / (1 - a)
        if self.min_snr_gamma is not None:
            loss = loss * min_snr_weight(snr, self.min_snr_gamma, noising.prediction)
        if self.debiased:
            loss = loss * debiased_weight(snr, noising.prediction)
        return loss

    def _distance(self, difference: Tensor, a: Tensor, timesteps: Tensor, noising: Noising) -> Tensor:
        if self.kind == "l2":
            return difference.square().flatten(1).mean(1)
        if self.kind == "l1":
            return difference.abs().flatten(1).mean(1)
        c = huber_threshold(
            a,
            timesteps.to(a.device) / len(noising.alphas_cumprod),
            _HUBER_C if self.huber_c is None else self.huber_c,
            self.huber_schedule or "snr",
        )
        c = c.view(-1, *[1] * (difference.dim() - 1))
        scale = 2 * c if self.kind == "huber" else 2.0
        return (scale * ((difference.square() + c.square()).sqrt() - c)).flatten(1).mean(1)


def huber_threshold(a: Tensor, progress: Tensor, c: float, schedule: str) -> Tensor:
    """c_t [B]: snr (1 - c) / (1 + sigma)^2 + c with sigma^2 = (1 - a) / a; exponential c^progress; constant c.

    `a` [B] is the cumulative alpha and `progress` [B] the timestep over their number. Source: sd-scripts'
    `huber_schedule`, after Khrapov et al. 2024, arXiv:2403.16728.
    """
    if schedule == "snr":
        sigma = ((1 - a) / a).sqrt()
        return (1 - c) / (1 + sigma).square() + c
    if schedule == "exponential":
        return torch.as_tensor(c, device=a.device) ** progress
    return torch.full_like(a, c)


def min_snr_weight(snr: Tensor, gamma: float, prediction: Prediction) -> Tensor:
    """min(snr, gamma) over snr (epsilon) or snr + 1 (v), [B]."""
    return snr.clamp(max=gamma) / (snr if prediction == "epsilon" else snr + 1)


def debiased_weight(snr: Tensor, prediction: Prediction) -> Tensor:
    """1 / sqrt(min(snr, 1000)) (epsilon) or 1 / (snr + 1) (v), [B]."""
    if prediction == "epsilon":
        return snr.clamp(max=_DEBIASED_SNR_CAP).rsqrt()
    return 1 / (snr + 1)

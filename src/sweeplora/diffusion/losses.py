"""The loss of a prediction: its distance from the target, and the weight of each noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Interval
from torch import Tensor

from sweeplora.diffusion.targets import Noising, Prediction
from sweeplora.errors import UserError

_HUBER_C = 0.1
_SNR_CAP = 1000.0


@dataclass(frozen=True)
class Loss:
    """Per-sample loss; the caller reduces.

    kind: l2, l1, huber 2c(sqrt(d^2 + c^2) - c) or smooth_l1 2(sqrt(d^2 + c^2) - c), d the difference.
    huber_c: c at the clean end of its schedule; None means 0.1.
    huber_schedule: how c changes with the noise level, see `huber_threshold`; None means snr.
    huber_scale: multiplies the exponential and constant schedules; None means 1.
    min_snr_gamma: see `min_snr_weight`. debiased: see `debiased_weight`.
    v_pred_like: see `v_like_weight`. scale_v_like_epsilon: see `epsilon_like_weight`.
    All requested weights multiply, as in sd-scripts. They are computed from the training's noise schedule, after
    rescaling (zero terminal SNR); sd-scripts computes them from the schedule before rescaling.
    """

    kind: Literal["l2", "l1", "huber", "smooth_l1"]
    huber_c: Annotated[float, Interval(gt=0, le=1)] | None
    huber_schedule: Literal["snr", "exponential", "constant"] | None
    huber_scale: Annotated[float, Gt(0)] | None
    min_snr_gamma: Annotated[float, Gt(0)] | None
    debiased: bool
    v_pred_like: Annotated[float, Gt(0)] | None
    scale_v_like_epsilon: bool

    def __post_init__(self) -> None:
        for key in ("huber_c", "huber_schedule", "huber_scale"):
            value = getattr(self, key)
            if value is not None and self.kind in ("l1", "l2"):
                raise UserError(f"loss.{key}", value, f"loss.kind={self.kind} does not use it; leave it null")
        if self.huber_scale is not None and self.huber_schedule in (None, "snr"):
            mend = "the snr schedule does not use it; choose loss.huber_schedule=exponential or constant"
            raise UserError("loss.huber_scale", self.huber_scale, mend)

    def __call__(
        self, output: Tensor, target: Tensor, timesteps: Tensor, noising: Noising, mask: Tensor | None = None
    ) -> Tensor:
        """Weighted losses [B] in float32 of model outputs [B, C, h, w] at `timesteps` [B].

        `mask` [B, 1, h, w] in [0, 1] multiplies every element's loss before the mean over all elements, including
        those that are masked out, as in sd-scripts.
        """
        a = noising.alphas_cumprod.to(timesteps.device)[timesteps].to(output.device)
        loss = self._distance(output.float() - target.float(), a, timesteps, noising)
        if mask is not None:
            loss = loss * mask
        return loss.flatten(1).mean(1) * self._weight(a / (1 - a), noising.prediction).float()

    def _weight(self, snr: Tensor, prediction: Prediction) -> Tensor:
        """Product of the weights [B] at these signal-to-noise ratios [B]."""
        weight = torch.ones_like(snr)
        if self.min_snr_gamma is not None:
            weight = weight * min_snr_weight(snr, self.min_snr_gamma, prediction)
        if self.scale_v_like_epsilon:
            weight = weight * epsilon_like_weight(snr)
        if self.v_pred_like is not None:
            weight = weight * v_like_weight(snr, self.v_pred_like)
        if self.debiased:
            weight = weight * debiased_weight(snr, prediction)
        return weight

    def _distance(self, difference: Tensor, a: Tensor, timesteps: Tensor, noising: Noising) -> Tensor:
        """Every element's loss, [B, ...]."""
        if self.kind == "l2":
            return difference.square()
        if self.kind == "l1":
            return difference.abs()
        c = huber_threshold(
            a,
            timesteps.to(a.device) / len(noising.alphas_cumprod),
            _HUBER_C if self.huber_c is None else self.huber_c,
            self.huber_schedule or "snr",
        )
        c = (c * (self.huber_scale or 1.0)).float().view(-1, *[1] * (difference.dim() - 1))
        scale = 2 * c if self.kind == "huber" else 2.0
        return scale * ((difference.square() + c.square()).sqrt() - c)


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
    """min(snr, gamma) over snr (epsilon) or snr + 1 (v), [B] (Hang et al. 2023, arXiv:2303.09556).

    At an snr of 0 it is 1 for epsilon, the limit (NaN in sd-scripts), and 0 for v.
    """
    if prediction == "epsilon":
        return (gamma / snr).clamp(max=1.0)
    return snr.clamp(max=gamma) / (snr + 1)


def debiased_weight(snr: Tensor, prediction: Prediction) -> Tensor:
    """1 / sqrt(snr) (epsilon) or 1 / (snr + 1) (v), [B], with an snr of at most 1000.

    Source: Yu et al. 2023, arXiv:2310.08442, and sd-scripts, whose cap applies to v too. For epsilon the snr is also
    at least 1/1000, since the weight would be infinite at an snr of 0; only a schedule that ends without any signal
    goes that low.
    """
    if prediction == "epsilon":
        return snr.clamp(1 / _SNR_CAP, _SNR_CAP).rsqrt()
    return 1 / (snr.clamp(max=_SNR_CAP) + 1)


def epsilon_like_weight(snr: Tensor) -> Tensor:
    """snr / (snr + 1), [B], with an snr of at most 1000: weights a v-prediction's squared error like epsilon's.

    Source: sd-scripts' `scale_v_pred_loss_like_noise_pred`. It is 0 where the input is pure noise.
    """
    capped = snr.clamp(max=_SNR_CAP)
    return capped / (capped + 1)


def v_like_weight(snr: Tensor, share: float) -> Tensor:
    """1 + share (snr + 1) / snr, [B]: adds `share` times the corresponding v-prediction loss to the epsilon loss.

    The snr is clamped to [1/1000, 1000], see `debiased_weight`. Source: sd-scripts' `v_pred_like_loss`.
    """
    return 1 + share / epsilon_like_weight(snr.clamp(min=1 / _SNR_CAP))

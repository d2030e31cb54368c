"""A loss of a user's own, whose gradient overflows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sweeplora.diffusion.losses import Loss
from sweeplora.diffusion.targets import Noising


@dataclass(frozen=True)
class Scaled(Loss):
    """The loss itself, with gradients `scale` times too large."""

    scale: float

    def __call__(  # type: ignore[override]  # it takes no mask, on purpose
        self, output: Tensor, target: Tensor, timesteps: Tensor, noising: Noising
    ) -> Tensor:
        loss = super().__call__(output, target, timesteps, noising)
        return loss.detach() + (loss - loss.detach()) * torch.tensor(self.scale) * self.scale

"""Losses of a user's own, such as one in which the training is killed, and an optimizer that draws."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
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


@dataclass(frozen=True)
class Struck(Loss):
    """The loss itself; the process that computes it signals itself as `strikes` in its run folder says.

    Each line is `<call> <signal>`, the calls counted from the start of a process; a line counts for one process.
    """

    def __call__(
        self, output: Tensor, target: Tensor, timesteps: Tensor, noising: Noising, mask: Tensor | None = None
    ) -> Tensor:
        _calls.append(None)
        strikes = Path("/proc/self/fd/1").readlink().with_name("strikes")
        lines = strikes.read_text().splitlines() if strikes.exists() else []
        if lines and int(lines[0].split()[0]) == len(_calls):
            strikes.write_text("\n".join(lines[1:]))
            os.kill(os.getpid(), signal.Signals[lines[0].split()[1]])
        return super().__call__(output, target, timesteps, noising, mask)


@dataclass(frozen=True)
class Recalling(Struck):
    """Relative to a running mean of what it gave so far, which it keeps, times numbers that it draws."""

    seen: dict[str, float] = field(default_factory=dict, init=False)
    drawn: float = field(default_factory=random.random, init=False)

    def __call__(
        self, output: Tensor, target: Tensor, timesteps: Tensor, noising: Noising, mask: Tensor | None = None
    ) -> Tensor:
        loss = super().__call__(output, target, timesteps, noising, mask)
        self.seen["mean"] = 0.5 * self.seen.get("mean", 1.0) + float(loss.detach().mean())
        return loss * (1 + self.drawn + random.random() + np.random.random()) / self.seen["mean"]

    def state_dict(self) -> dict[str, float]:
        return self.seen

    def load_state_dict(self, state_dict: Mapping[str, float], /) -> None:
        self.seen.update(state_dict)


class Rounding(torch.optim.Optimizer):
    """Steps by signs whose size is drawn anew every time, as a stochastic rounding draws."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it returns no loss
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(group["lr"] * parameter.grad.sign() * torch.rand_like(parameter))


_calls: list[None] = []

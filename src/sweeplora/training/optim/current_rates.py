"""Learning rates during training: set from the schedule, and read back as the optimizer applied them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LearningRates:
    """Sets each group's learning rate to its base value times a schedule's multiplier.

    An optimizer without a given learning rate (None: Adafactor with its relative step) keeps its own.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._base = [group["lr"] for group in optimizer.param_groups]

    def set(self, multiplier: float) -> None:
        """Apply the multiplier for the next update."""
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            if base is not None:
                group["lr"] = base * multiplier

    def current(self) -> dict[str, float]:
        """The effective learning rate of each group's last update, by metric name.

        It includes the step size (`d`) that an optimizer finds by itself and a schedule-free optimizer's warm-up;
        Adafactor's is the mean over the group's parameters.
        """
        state = self._optimizer.state
        return {f"lr/{group['name']}": _rate(group, state) for group in self._optimizer.param_groups}


def _rate(group: Mapping[str, Any], state: Mapping[Tensor, Any]) -> float:
    if "relative_step" in group:
        return _adafactor_rate(group, [state[parameter] for parameter in group["params"] if parameter in state])
    return float(group.get("scheduled_lr", group["lr"]) * group.get("d", 1.0))


def _adafactor_rate(group: Mapping[str, Any], states: list[dict[str, Any]]) -> float:
    """Mean of the steps that transformers' Adafactor took (Shazeer & Stern 2018, arXiv:1804.04235, section 8)."""
    if not states:
        return 0.0
    rate, count = group["lr"], states[0]["step"]
    if group["relative_step"]:
        rate = min(1e-6 * count if group["warmup_init"] else 1e-2, 1 / math.sqrt(count))
    if not group["scale_parameter"]:
        return float(rate)
    sizes = torch.stack([one["RMS"] for one in states]).float().clamp(min=group["eps"][1])
    return float(rate * sizes.mean())

"""The optimizer over a network's parameters, and the one buffer that holds their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeplora.networks.lycoris import PARTS, Network

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]


class FlatGradients:
    """Every parameter's `grad` as a view into one float32 buffer, with room for a few numbers behind it.

    One buffer makes the norm, the clipping and the sum over processes one operation each, and a parameter
    that took no part in a step has a gradient of zero, in one process as in several.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], room: int) -> None:
        trained = list(parameters)
        self._size = sum(parameter.numel() for parameter in trained)
        self.buffer = torch.zeros(self._size + room, device=trained[0].device)
        start = 0
        for parameter in trained:
            end = start + parameter.numel()
            parameter.grad = self.buffer[start:end].view_as(parameter)
            start = end

    @property
    def gradients(self) -> Tensor:
        """All gradients, [number of trained numbers]."""
        return self.buffer[: self._size]

    @property
    def room(self) -> Tensor:
        """The numbers that travel with the gradients when they are summed."""
        return self.buffer[self._size :]

    def clear(self) -> None:
        """Set everything to zero; the views stay."""
        self.buffer.zero_()

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradients to at most `max_norm` (0: never) and return the norm from before, []."""
        norm: Tensor = self.gradients.norm()
        if max_norm > 0:
            self.gradients.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm


class LearningRates:
    """Sets each group's learning rate to its base value times a schedule's multiplier."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._base = [group["lr"] for group in optimizer.param_groups]

    def set(self, multiplier: float) -> None:
        """Apply the multiplier for the coming update."""
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            group["lr"] = base * multiplier

    def current(self) -> dict[str, float]:
        """Learning rate of each group by its metric's name; an optimizer that finds its own (`d`) has it multiplied."""
        return {
            f"lr/{group['name']}": float(group["lr"] * group.get("d", 1.0)) for group in self._optimizer.param_groups
        }


@runtime_checkable
class _Averaging(Protocol):
    """An optimizer whose weights for use differ from those it trains (schedule-free)."""

    def train(self) -> None: ...

    def eval(self) -> None: ...


@contextmanager
def weights_for_use(optimizer: Optimizer) -> Iterator[None]:
    """While inside, parameters hold what should be validated, sampled and saved.

    Afterwards they are what they were, to the last bit: an average's way back is not exact by itself.
    """
    if not isinstance(optimizer, _Averaging):
        yield
        return
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    kept = [parameter.detach().clone() for parameter in trained]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        for parameter, value in zip(trained, kept, strict=True):
            parameter.data.copy_(value)


def make_optimizer(make: MakeOptimizer, network: Network) -> Optimizer:
    """The optimizer over a network's parameters, one group a part of the model, ready for its first step."""
    groups = [{"name": part, "params": network.parameters(part)} for part in PARTS if network.parameters(part)]
    optimizer = make(groups)
    if isinstance(optimizer, _Averaging):
        optimizer.train()
    return optimizer

"""The optimizer over a network's parameters, and the buffers that hold their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeplora.errors import UserError
from sweeplora.networks.lycoris import Network
from sweeplora.rates import Group, Rates, group_of

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]


class FlatGradients:
    """Every parameter's `grad` as a view into one buffer for its dtype, with room for a few float32 numbers.

    One buffer makes the norm, the clipping and the sum over processes one operation each, and a parameter
    that took no part in a step has a gradient of zero, in one process as in several.

    `buffers`: all that is summed over processes; the first is float32 and ends with the room.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], room: int) -> None:
        by_dtype: dict[torch.dtype, list[nn.Parameter]] = {torch.float32: []}
        for parameter in parameters:
            by_dtype.setdefault(parameter.dtype, []).append(parameter)
        device = next(parameter.device for trained in by_dtype.values() for parameter in trained)
        buffers, gradients = [], []
        for dtype, trained in by_dtype.items():
            size = sum(parameter.numel() for parameter in trained)
            buffer = torch.zeros(size + (room if dtype == torch.float32 else 0), dtype=dtype, device=device)
            _share_out(buffer, trained)
            buffers.append(buffer)
            gradients += [buffer[:size]] if size else []
        self.buffers: tuple[Tensor, ...] = tuple(buffers)
        self.gradients: tuple[Tensor, ...] = tuple(gradients)
        self.room: Tensor = buffers[0][len(buffers[0]) - room :]

    def clear(self) -> None:
        """Set everything to zero; the views stay."""
        for buffer in self.buffers:
            buffer.zero_()

    def clip(self, max_norm: float, scale: float = 1.0) -> float:
        """Divide the gradients by `scale`, bring them to at most `max_norm` (0: never); returns the norm between.

        A norm that is not finite leaves them as they are: such a step is not to be taken.
        """
        norms = [torch.linalg.vector_norm(part, dtype=torch.float32) for part in self.gradients]
        norm = float(norms[0] if len(norms) == 1 else torch.stack(norms).norm()) / scale
        factor = min(1.0, max_norm / (norm + 1e-6)) / scale if max_norm > 0 else 1 / scale
        if math.isfinite(norm) and factor != 1:
            for part in self.gradients:
                part.mul_(factor)
        return norm


def _share_out(buffer: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.grad = buffer[start:end].view_as(parameter)
        start = end


class LearningRates:
    """Sets each group's learning rate to its base value times a schedule's multiplier.

    An optimizer without a learning rate (None: Adafactor with its relative step) keeps its own.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._base = [group["lr"] for group in optimizer.param_groups]

    def set(self, multiplier: float) -> None:
        """Apply the multiplier for the coming update."""
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            if base is not None:
                group["lr"] = base * multiplier

    def current(self) -> dict[str, float]:
        """Learning rate of each group's last update, by its metric's name, with what the optimizer itself did to it.

        An optimizer that finds its own step size (`d`) has it multiplied, a schedule-free one's warm-up is in it,
        and Adafactor's is the mean over the group's parameters.
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


def make_optimizer(make: MakeOptimizer, network: Network, rates: Rates) -> Optimizer:
    """The optimizer over a network's parameters, a group for each rate, ready for its first step.

    Raises UserError for a rate that no parameter has, and for what the optimizer itself refuses.
    """
    placed: dict[Group, list[nn.Parameter]] = {}
    for trained in network.trained():
        placed.setdefault(group_of(trained, rates), []).append(trained.parameter)
    for key, part in (("loraplus_unet", "unet"), ("loraplus_text_encoder", "text_encoder")):
        if key in rates.given and not any(g.name.startswith(part) and g.name.endswith("_plus") for g in placed):
            raise UserError(f"rates.{key}", getattr(rates, key), "this network has no B there; leave it null")
    try:
        optimizer = make([{"name": group.name, "params": parameters} for group, parameters in placed.items()])
    except (TypeError, ValueError) as error:
        raise UserError("optimizer", "arguments", str(error)) from error
    for made, group in zip(optimizer.param_groups, placed, strict=True):
        if group.rate is not None or group.factor != 1:
            made["lr"] = (made["lr"] if group.rate is None else group.rate) * group.factor
    if isinstance(optimizer, _Averaging):
        optimizer.train()
    return optimizer

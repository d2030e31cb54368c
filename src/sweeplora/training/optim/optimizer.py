"""The optimizer over a network's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import Optimizer

from sweeplora.errors import UserError
from sweeplora.networks.network import Network
from sweeplora.training.optim.rates import Group, Rates, group_of

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]


@runtime_checkable
class Averaging(Protocol):
    """An optimizer whose evaluation weights differ from its training weights (schedule-free)."""

    def train(self) -> None: ...

    def eval(self) -> None: ...


@contextmanager
def weights_for_use(optimizer: Optimizer) -> Iterator[None]:
    """Within the context, parameters hold the values to validate, sample and save.

    Afterwards they are restored bit for bit: the optimizer's own return from its average is not exact.
    """
    if not isinstance(optimizer, Averaging):
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
    """The optimizer over a network's parameters, one group per rate, ready for its first step.

    Raises UserError for a rate that applies to no parameter, and for values that the optimizer itself refuses.
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
        if made["lr"] is not None and made["lr"] > torch.finfo(torch.float32).max:
            raise UserError("optimizer.lr", made["lr"], f"is more than float32 holds, for {group.name}; lower it")
    if isinstance(optimizer, Averaging):
        optimizer.train()
    return optimizer

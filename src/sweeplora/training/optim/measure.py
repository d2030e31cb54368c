"""How much an optimizer keeps beside what it trains, measured on one small parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweeplora.training.optim.optimizer import Averaging, MakeOptimizer

_MOST_A_SIDE = 512


def state_bytes(make: MakeOptimizer, shape: tuple[int, ...]) -> float:
    """Bytes of state for each trained number, from one step on a parameter of about this shape, float32 on the CPU.

    Raises whatever an optimizer raises that cannot be made or cannot step here.
    """
    sides = [min(side, _MOST_A_SIDE) for side in shape]
    parameter = nn.Parameter(torch.ones(sides))
    optimizer = make([{"name": "measured", "params": [parameter]}])
    if isinstance(optimizer, Averaging):
        optimizer.train()
    parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    kept = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(optimizer.state))
    return kept / math.prod(sides)


def _tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors in an optimizer's state that grow with the parameter."""
    if isinstance(tree, Tensor) and tree.dim() > 0:
        yield tree
    elif isinstance(tree, Mapping):
        for inner in tree.values():
            yield from _tensors(inner)
    elif isinstance(tree, list | tuple):
        for inner in tree:
            yield from _tensors(inner)

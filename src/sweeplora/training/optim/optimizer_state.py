"""An optimizer's state put back exactly, whatever its class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Give a new optimizer over the same parameters the state that `state_dict` returned.

    torch's own `load_state_dict` turns the state of a parameter into the parameter's dtype: a float32 average of
    bfloat16 weights would lose two thirds of its bits. So it runs first, for what a class does in its own, and the
    values are then put in place as they were. Raises ValueError if the optimizer does not have the state afterwards.
    """
    optimizer.load_state_dict(_copied(state))
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, kept in state["state"].items():
        if isinstance(index, int) and index < len(trained):
            optimizer.state[trained[index]] = _copied(kept)
    for group, kept in zip(optimizer.param_groups, state["param_groups"], strict=True):
        group.update({key: _copied(value) for key, value in kept.items() if key != "params"})
    if not _same(optimizer.state_dict(), state):
        raise ValueError(f"{type(optimizer).__name__} does not take its state back")


def _copied(value: Any) -> Any:
    """A copy of a tree, each tensor with memory of its own."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def _same(one: Any, other: Any) -> bool:
    """Whether two trees are equal in every bit; dictionaries may be of any class."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(_bits(one), _bits(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(type(one) is type(other) and one == other)


def _bits(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)

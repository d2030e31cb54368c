"""An optimizer's state put back exactly, whatever its class."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

_PARAMETER = "trained parameter"
"""Stands before a parameter's number, in a tuple."""


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """What an optimizer's `state_dict` returns, not copied, with a number in place of each parameter that it trains.

    A wrapper of another optimizer keeps its own state by the parameters themselves.
    """
    numbers = {id(parameter): index for index, parameter in enumerate(_trained(optimizer))}

    def numbered(value: Any) -> Any:
        return (_PARAMETER, numbers[id(value)]) if id(value) in numbers else value

    found: dict[str, Any] = _mapped(optimizer.state_dict(), numbered)
    return found


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Give a new optimizer over the same parameters what `optimizer_state` returned.

    torch's own `load_state_dict` turns the state of a parameter into the parameter's dtype: a float32 average of
    bfloat16 weights would lose two thirds of its bits. So it runs first, for what a class does in its own, and the
    values are then put in place as they were. Raises ValueError if the optimizer does not take the state, or does not
    have it afterwards.
    """
    trained, name = _trained(optimizer), type(optimizer).__name__
    try:
        optimizer.load_state_dict(_copy(state, trained))
    except Exception as error:  # of whoever wrote the class
        raise ValueError(f"{name} does not take its state back: {type(error).__name__}: {error}") from error
    for index, kept in state.get("state", {}).items():
        if isinstance(index, int) and index < len(trained):
            optimizer.state[trained[index]] = _copy(kept, trained)
    for group, kept in zip(optimizer.param_groups, state.get("param_groups", optimizer.param_groups), strict=True):
        group.update({key: _copy(value, trained) for key, value in kept.items() if key != "params"})
    if not _same(optimizer_state(optimizer), state):
        raise ValueError(f"{name} does not take its state back")


def _trained(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _copy(value: Any, trained: Sequence[Tensor]) -> Any:
    """A copy of a tree, each tensor with memory of its own, with the parameters in place of their numbers."""

    def copied(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.clone()
        if type(value) is tuple and len(value) == 2 and value[0] == _PARAMETER:
            return trained[value[1]]
        return value

    return _mapped(value, copied)


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """A tree with a function's results in place of its keys and its values, the innermost first."""
    if isinstance(value, Mapping):
        return {_mapped(key, function): _mapped(item, function) for key, item in value.items()}
    if type(value) in (list, tuple):
        return function(type(value)(_mapped(item, function) for item in value))
    if type(value) is deque:
        return deque((_mapped(item, function) for item in value), value.maxlen)
    return function(value)


def _same(one: Any, other: Any) -> bool:
    """Whether two trees are equal in every bit; dictionaries may be of any class."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(_bits(one), _bits(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, deque) and isinstance(other, deque):
        return one.maxlen == other.maxlen and _same(list(one), list(other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(type(one) is type(other) and one == other)


def _bits(value: Tensor) -> Tensor:
    # A single number counts as contiguous with any stride.
    return value.detach().cpu().contiguous().as_strided((value.numel(),), (1,)).view(torch.uint8)

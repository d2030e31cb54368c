"""Values of Python, NumPy and torch in JSON, each with its type."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

CONTAINERS = ("tuple", "size", "set", "deque")
"""Marks of what holds other values; a list needs none. The last item of a deque is its greatest length."""

LEAVES = ("float", "dtype", "number")
"""Marks of what holds none: a float that JSON does not know, a dtype of torch, a number of NumPy's."""


def contents_of(value: Any) -> tuple[str, Iterable[Any]] | None:
    """The mark of a container ("list" for a list) and what it holds; None for anything else, such as a named tuple."""
    if isinstance(value, list):
        return "list", value
    if type(value) is tuple:
        return "tuple", value
    if type(value) is torch.Size:
        return "size", value
    if type(value) is set:
        return "set", value
    if type(value) is deque:
        return "deque", [*value, value.maxlen]
    return None


def container(mark: str, items: Sequence[Any]) -> Any:
    """What `contents_of` took apart."""
    match mark:
        case "size":
            return torch.Size(items)
        case "set":
            return set(items)
        case "deque":
            return deque(items[:-1], maxlen=items[-1])
        case _:
            return tuple(items)


def of_leaf(value: Any) -> tuple[str, Any] | None:
    """The mark of a single value, "" for what JSON knows, and its JSON; None for a value that is none of these."""
    if isinstance(value, np.bool_ | np.number) and value.dtype.kind in "biuf":
        content = of_leaf(value.item())
        assert content is not None, "Python has a number for it"
        return "number", [value.dtype.str, content[1]]
    if value is None or isinstance(value, bool | int | str):
        return "", value
    if isinstance(value, float):
        return ("", value) if math.isfinite(value) else ("float", repr(value))
    if isinstance(value, torch.dtype):
        return "dtype", str(value).partition(".")[2]
    return None


def leaf(mark: str, content: Any) -> Any:
    """What `of_leaf` turned into JSON; raises TypeError, ValueError or AttributeError for anything else."""
    match mark:
        case "dtype":
            found = getattr(torch, content)
            if not isinstance(found, torch.dtype):
                raise TypeError(f"torch.{content} is no dtype")
            return found
        case "number":
            return np.dtype(content[0]).type(content[1])
        case _:
            return float(content)


def is_key(value: Any) -> bool:
    """Whether a value may be a dictionary's key: text, a number, None, or a tuple of these."""
    if type(value) is tuple:
        return all(map(is_key, value))
    return value is None or isinstance(value, str | bool | int | float)

"""The difference between the tensors of two files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open


class Difference(NamedTuple):
    """The largest absolute difference between two files, and the tensor that has it."""

    size: float
    name: str


def largest_difference(one: Path, other: Path) -> Difference | None:
    """The largest difference of a number in two safetensors files; infinite if a tensor or its shape is missing.

    None if all tensors are equal.
    """
    largest: Difference | None = None
    with safe_open(one, "pt") as first, safe_open(other, "pt") as second:
        names = sorted({*first.keys(), *second.keys()})
        for name in names:
            if name not in first.keys() or name not in second.keys():  # noqa: SIM118  # not a dict
                return Difference(float("inf"), name)
            a, b = first.get_tensor(name), second.get_tensor(name)
            if a.shape != b.shape:
                return Difference(float("inf"), name)
            gap = float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
            if gap > 0 and (largest is None or gap > largest.size):
                largest = Difference(gap, name)
    return largest

"""sd-scripts' learning rates per block, as one list of multipliers."""

from __future__ import annotations

import math
from collections.abc import Sequence

_OUTSIDE = {25: (12, 1, 0), 23: (9, 3, 1)}
"""Blocks of a U-Net -> blocks down (and up), in the middle, and outside of both at either end."""


Side = str | Sequence[float] | None


def expand_blocks(num_blocks: int, down: Side, mid: Side, up: Side, zero_threshold: float = 0.0) -> list[float]:
    """sd-scripts' `down_lr_weight`, `mid_lr_weight` and `up_lr_weight` as one list of `num_blocks` multipliers.

    Each is a list of numbers, or text as in sd-scripts: "0,0.5,1", where an empty item is 0, or a preset's name with an
    offset ("cosine+.25"). None means 1 throughout. A short list is padded with 1, a long one is truncated; values up to
    `zero_threshold` count as 0. Raises ValueError for an unknown preset or an unsupported number of blocks.
    """
    if num_blocks not in _OUTSIDE:
        raise ValueError(f"no model has {num_blocks} blocks; 23 (SDXL) or 25 (SD 1.5)")
    side, middle, outside = _OUTSIDE[num_blocks]
    ends = [1.0] * outside
    parts = ((down, side), (mid, middle), (up, side))
    inner = [weight if weight > zero_threshold else 0.0 for given, length in parts for weight in _side(given, length)]
    return [*ends, *inner, *ends]


def _side(given: Side, length: int) -> list[float]:
    if given is None:
        return [1.0] * length
    if isinstance(given, str):
        given = _read(given, length)
    return [*given[:length], *[1.0] * (length - len(given))]


def _read(text: str, length: int) -> list[float]:
    name, _, added = text.partition("+")
    shape = _PRESETS.get(name)
    if shape is None:
        return [float(number) if number.strip() else 0.0 for number in text.split(",")]
    return [shape(place / max(1, length - 1)) + float(added or 0) for place in range(length)]


_PRESETS = {
    "sine": lambda x: math.sin(math.pi / 2 * x),
    "cosine": lambda x: math.sin(math.pi / 2 * (1 - x)),
    "linear": lambda x: x,
    "reverse_linear": lambda x: 1 - x,
    "zeros": lambda x: 0.0,
}
"""sd-scripts' named courses from the first block of a side (0) to its last (1)."""

"""The location of a tensor in a file, and other views of the same bytes; reads nothing, no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

ITEM_SIZES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1},
}
"""Bytes per element, by safetensors' type names."""


class UnreadableFile(Exception):
    """A weights file that cannot be used; the message continues after the file's name."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file: `offset` bytes from its start, `stride` in elements, `dtype` as safetensors names it."""

    file: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def extent(self) -> int:
        """Bytes from the first element to the end of the last."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * ITEM_SIZES[self.dtype]

    @property
    def is_floating_point(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return "F" in self.dtype

    def transposed(self) -> Stored:
        """A matrix with rows and columns swapped."""
        return replace(self, shape=self.shape[::-1], stride=self.stride[::-1])

    def without_kernel(self) -> Stored:
        """A 1x1 convolution's weight (out, in, 1, 1) as a linear layer's (out, in)."""
        return replace(self, shape=self.shape[:2], stride=self.stride[:2])

    def third(self, index: int) -> Stored:
        """One of three equal parts along the first dimension: query, key and value of a fused projection."""
        rows = self.shape[0] // 3
        offset = self.offset + index * rows * self.stride[0] * ITEM_SIZES[self.dtype]
        return replace(self, offset=offset, shape=(rows, *self.shape[1:]))


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a contiguous tensor."""
    return tuple(prod(shape[place + 1 :]) for place in range(len(shape)))

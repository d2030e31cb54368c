"""A frozen layer's weight and geometry, for backward passes of our own."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sweeplora.models import eight_bits

Layer = nn.Linear | nn.Conv2d
Geometry = tuple[Any, Any, Any, int]
"""A convolution's stride, padding, dilation and groups."""


class Frozen(NamedTuple):
    """`stored`: the weight as it lies in memory, one tensor or 8 bits with their scales, so that a backward pass need
    not keep a widened copy. `geometry`: None for a linear layer."""

    stored: tuple[Tensor, ...]
    geometry: Geometry | None

    @classmethod
    def of(cls, layer: Layer) -> Frozen:
        """The weight and geometry of a layer."""
        if isinstance(layer, eight_bits.Linear | eight_bits.Conv2d):
            stored: tuple[Tensor, ...] = (layer.bits, layer.scales)
        else:
            stored = (layer.weight,)
        if isinstance(layer, nn.Linear):
            return cls(stored, None)
        return cls(stored, (layer.stride, layer.padding, layer.dilation, layer.groups))

    def weight(self, dtype: torch.dtype) -> Tensor:
        """The weight in its own precision, or widened from 8 bits to `dtype`."""
        return self.stored[0] if len(self.stored) == 1 else eight_bits.Narrow(*self.stored).widen(dtype)

    def gradients(
        self, gradient: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """From the output's gradient: those of the input and of a weight by which the output was computed."""
        if self.geometry is None:
            rows = gradient.reshape(-1, gradient.shape[-1])
            dx = (rows @ weight).view(x.shape) if wanted[0] else None
            return dx, rows.t() @ x.reshape(-1, x.shape[-1]) if wanted[1] else None
        stride, padding, dilation, groups = self.geometry
        dx, dweight, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, dilation, False, [0, 0], groups, [*wanted, False]
        )
        return dx, dweight


def is_computable(layer: Layer) -> bool:
    """Whether a backward pass of our own knows the layer's geometry: padding by numbers, with zeros."""
    return isinstance(layer, nn.Linear) or (layer.padding_mode == "zeros" and not isinstance(layer.padding, str))

"""A frozen layer plus an update of its weight, where adding the update to the weight would round it away.

Computed apart, layer and update take five matrix products a step: two forward, two for the input's gradient, one for
the update's. Here the input's gradient takes one, through the sum of weight and update, hence four.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from sweeplora.networks.adapters.frozen import Frozen, Geometry, Layer


def layer_plus_update(layer: Layer, x: Tensor, change: Tensor) -> Tensor:
    """The layer's output with its weight changed by `change`, in x's precision, which is also that of `change`.

    Forward, the update is not added to the weight: in half precision it may be smaller than the weight's rounding.
    Call it outside autocast.
    """
    frozen = Frozen.of(layer)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    output: Tensor = _LayerPlusUpdate.apply(x, change, frozen.geometry, bias, *frozen.stored)
    return output


class _LayerPlusUpdate(Function):
    """(x, change, geometry, bias, *stored weight) -> output; the frozen weight and bias get no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Tensor, geometry: Geometry | None, *tensors: Any) -> Tensor:
        bias, *stored = tensors
        ctx.save_for_backward(x, change, *stored)
        ctx.geometry = geometry
        weight = Frozen(tuple(stored), geometry).weight(x.dtype).to(x.dtype)
        if geometry is not None:
            return F.conv2d(x, weight, bias, *geometry).add_(F.conv2d(x, change, None, *geometry))
        rows = x.reshape(-1, x.shape[-1])
        return F.linear(rows, weight, bias).addmm_(rows, change.t()).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, change, *stored = ctx.saved_tensors
        frozen = Frozen(tuple(stored), ctx.geometry)
        for_x, for_change = ctx.needs_input_grad[:2]
        whole = (frozen.weight(x.dtype) + change).to(x.dtype)
        dx, dchange = frozen.gradients(gradient, x, whole, (for_x, for_change))
        return dx, dchange, None, None, *[None] * len(stored)

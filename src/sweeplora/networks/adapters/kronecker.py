"""The Kronecker product of two small matrices, as an update in half precision, with a backward pass of its own.

PyTorch's takes two products and two sums of the update's size. Seen as [a b, c d], the update is the outer product of
the two matrices, and either's gradient is that of the update times the other: one pass each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def kronecker_product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """kron(left [a, b], right [c, d, window]) [a c, b d, window] of float32 matrices, rounded once to `dtype`."""
    product: Tensor = _KroneckerProduct.apply(left, right, dtype)
    return product


class _KroneckerProduct(Function):
    """(left, right, dtype) -> their product."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(left, right)
        (a, b), (c, d, *window) = left.shape, right.shape
        rows = left.view(a, 1, b, 1) * right.reshape(1, c, 1, -1)
        return rows.to(dtype).view(a * c, b * d, *window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        (a, b), c = left.shape, len(right)
        blocks = gradients[0].reshape(a, c, b, -1).transpose(1, 2).to(left.dtype).reshape(a * b, -1)
        for_left = torch.mv(blocks, right.reshape(-1)).view(left.shape)
        for_right = torch.mv(blocks.t(), left.reshape(-1)).view(right.shape)
        return for_left, for_right, None

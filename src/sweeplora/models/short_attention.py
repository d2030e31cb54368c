"""Attention over few tokens in half precision on a CPU, with a backward pass of its own.

Forward it is torch's kernel. Backward, that kernel takes four times as long as forward where there are few tokens; here
the scores are computed anew, all at once, in float32: up to 1.7 times as fast, and as close to float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import scaled_dot_product_attention

_MOST_SCORES = 2**17
"""Queries times keys up to which it is the faster (measured; slower at 1024 x 1024)."""


def is_short(query: Tensor, key: Tensor) -> bool:
    """Whether `short_attention` serves: gradients are wanted, in half precision on a CPU, of few scores a head."""
    return (
        query.device.type == "cpu"
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-2] * key.shape[-2] <= _MOST_SCORES
        and torch.is_grad_enabled()
        and (query.requires_grad or key.requires_grad)
    )


def short_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of queries [B, heads, T, D], keys and values [B, heads, S, D], in one precision."""
    output: Tensor = _ShortAttention.apply(query, key, value)
    return output


class _ShortAttention(Function):
    """(query, key, value) -> output."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = scaled_dot_product_attention(query, key, value)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        # The gradient of a softmax p by scores s is p (g - p . g), and p . g is the output's gradient times the output.
        saved = ctx.saved_tensors
        query, key, value, output, gradient = (_joined(one) for one in (*saved, gradients[0]))
        scale = query.shape[-1] ** -0.5
        weights = torch.bmm(query.float() * scale, key.float().transpose(1, 2)).softmax(-1)
        along = (gradient.float() * output).sum(-1, keepdim=True)
        for_weights = torch.baddbmm(along, gradient.float(), value.float().transpose(1, 2), beta=-1)
        for_scores = for_weights.mul_(weights).mul_(scale).to(query.dtype)
        found = (
            torch.bmm(for_scores, key),
            torch.bmm(for_scores.transpose(1, 2), query),
            torch.bmm(weights.to(query.dtype).transpose(1, 2), gradient),
        )
        return tuple(one.unflatten(0, (len(saved[0]), -1)) for one in found)


def _joined(tensor: Tensor) -> Tensor:
    """[B, heads, T, D] -> [B x heads, T, D]."""
    return tensor.reshape(-1, *tensor.shape[2:])

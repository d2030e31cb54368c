"""A U-Net's attention computed with torch's own kernel, with xformers', or in slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from sweeplora.models import attention
from sweeplora.models.attention import Kind
from sweeplora.models.short_attention import is_short, short_attention

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries [B, heads, T, D], keys and values [B, heads, S, D] -> [B, heads, T, D]."""

_SLICE = 1024
"""Queries per slice."""


def apply(unet: Any, kind: Kind) -> None:
    """Set how every attention layer of a diffusers U-Net is computed."""
    attention.check(kind)
    match kind:
        case "xformers":
            unet.enable_xformers_memory_efficient_attention()
        case "sdpa":
            unet.set_attn_processor(Processor(by_kernel))
        case "sliced":
            unet.set_attn_processor(Processor(in_slices))


class Processor:
    """Attention of SD 1.5 and SDXL U-Nets, which has no mask and no norms, by one of the functions below."""

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def __call__(
        self,
        layers: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]; keys and values come from `encoder_hidden_states` [B, S, E] if given.

        The argument names are those of diffusers.
        """
        assert attention_mask is None and layers.group_norm is None and layers.spatial_norm is None
        assert layers.rescale_output_factor == 1 and not layers.residual_connection
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        inputs = ((layers.to_q, hidden_states), (layers.to_k, context), (layers.to_v, context))
        query, key, value = (_by_head(layer(values), layers.heads) for layer, values in inputs)
        joined = self._attend(query, key, value).transpose(1, 2).flatten(2)
        output: Tensor = layers.to_out[1](layers.to_out[0](joined))
        return output


def by_kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """By torch's kernel; its backward pass is replaced where it is slow."""
    if is_short(query, key):
        return short_attention(query, key, value)
    return scaled_dot_product_attention(query, key, value)


def in_slices(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """In slices of the queries, each recomputed in the backward pass.

    At most the scores of one slice, [B, heads, 1024, keys], are in memory at any time, in training too. This serves
    the purpose of the reference's `mem_eff_attn` on devices where torch has no memory-efficient kernel.
    """
    slices: list[Tensor] = [
        checkpoint(_attend, part, key, value, use_reentrant=False) for part in query.split(_SLICE, dim=2)
    ]
    return torch.cat(slices, dim=2)


def _by_head(values: Tensor, heads: int) -> Tensor:
    """[B, T, heads x D] -> [B, heads, T, D]."""
    batch, length, _ = values.shape
    return values.view(batch, length, heads, -1).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return torch.matmul(scores.softmax(-1), value)

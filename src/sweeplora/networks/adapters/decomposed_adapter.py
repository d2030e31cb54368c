"""Adapters whose weight may be decomposed into direction and trained magnitude (DoRA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sweeplora.networks.adapters.adapter import Module
from sweeplora.networks.adapters.frozen import Layer
from sweeplora.networks.adapters.weight_adapter import RowsAdapter, weight_of
from sweeplora.networks.algorithms import Decomposed
from sweeplora.networks.blocks import Rank


class DecomposedAdapter(RowsAdapter[Module]):
    """A `RowsAdapter` whose weight may be decomposed into direction and trained magnitude (DoRA).

    The norm is taken per input channel, or with `wd_on_output` per output channel.
    """

    def __init__(self, key: str, module: Module, layer: Layer, algorithm: Any) -> None:
        super().__init__(key, module, layer, algorithm)
        self._dora: bool = algorithm.dora
        kept = 0 if algorithm.wd_on_output else 1
        self._axes = [axis for axis in range(layer.weight.dim()) if axis != kept]
        if self._dora:
            self._magnitude().data = channel_norms(weight_of(layer).detach(), self._axes)

    def _magnitude(self) -> nn.Parameter:
        return self.module.get_parameter("dora_scale")

    def whole(self) -> Tensor:
        """The changed weight in float32, at the current strength."""
        if not self._dora:
            return super().whole()
        base = weight_of(self._layer)
        whole = decomposed(base + self._dropped(self.update()), self._magnitude().float(), self._axes)
        return whole if self.strength == 1 else torch.lerp(base, whole, self.strength)

    def change(self) -> Tensor:
        """The update to the layer's weight at the current strength; always in float32."""
        return self.whole() - weight_of(self._layer) if self._dora else super().change()


def channel_norms(weight: Tensor, axes: Sequence[int]) -> Tensor:
    """Norms over `axes`: [1, in, …] or [out, 1, …]; never 0, and bit-identical for equal weights."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=list(axes), keepdim=True)
    return norms + torch.finfo(torch.float32).eps


def decomposed(direction: Tensor, magnitude: Tensor, axes: Sequence[int]) -> Tensor:
    """DoRA: a weight of this direction whose channels have the norms `magnitude` (Liu et al. 2024, section 4)."""
    whole: Tensor = direction * (magnitude / channel_norms(direction, axes))
    return whole


def decomposed_options(algorithm: Decomposed, rank: Rank) -> dict[str, Any]:
    """The arguments common to LyCORIS' decomposable modules, from an algorithm's options."""
    return {
        "lora_dim": rank.dim,
        "alpha": rank.alpha,
        "use_tucker": algorithm.use_tucker,
        "use_scalar": algorithm.use_scalar,
        "weight_decompose": algorithm.dora,
        "wd_on_out": algorithm.wd_on_output,
        "rs_lora": algorithm.rs_lora,
    }

"""Adapters on linear layers and convolutions, whose update can be added to the layer's weight."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.networks.adapters.adapter import Adapter, Module
from sweeplora.networks.adapters.four_products import layer_plus_update
from sweeplora.networks.adapters.frozen import Layer, is_computable


class WeightAdapter(Adapter[Module]):
    """An adapter on a linear layer or a convolution, whose update can be added to the layer's weight.

    Beside the layer: the update's output is added to the layer's. In the weight: if everything is float32, the
    changed weight replaces the layer's, which saves one of two products. `can_merge`: in evaluation, the output is that
    of the layer with the update in its weight; false for one that depends on more, such as the noise level.
    """

    can_merge: ClassVar[bool] = True
    _layer: Layer

    def __init__(self, key: str, module: Module, layer: Layer, algorithm: Any) -> None:
        super().__init__(key, module, layer, algorithm)
        self._kind = F.conv2d if isinstance(layer, nn.Conv2d) else F.linear
        self._options = geometry(layer)
        self._shape = layer.weight.shape  # an 8-bit layer computes its weight on every read
        self._bypass: bool | None = algorithm.bypass_mode if "bypass_mode" in vars(algorithm) else None
        self._merged: tuple[Tensor, Tensor | None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the update at `strength`; 0 is the unmodified layer, also while merged."""
        if self._merged is None or self.strength == 0:
            return super().forward(x)
        weight, bias = self._merged
        output: Tensor = self._kind(x, weight, bias, **self._options)
        return output

    @property
    def merged_bytes(self) -> int | None:
        """Bytes of the weight in float32."""
        return math.prod(self._shape) * torch.float32.itemsize if self.can_merge else None

    def merge(self) -> None:
        """Compute weight and bias at the current strength, for float32 forward passes, until `unmerge`."""
        assert not self.module.training, "dropout cannot be merged"
        self._merged = (self.whole(), self.whole_bias())

    def unmerge(self) -> None:
        """Drop what `merge` computed."""
        self._merged = None

    @abstractmethod
    def update(self) -> Tensor:
        """The update to the layer's weight at strength 1 without dropout: in its shape, scaled once, float32."""

    def factors(self) -> list[Tensor]:
        """Tensors whose product is the update, which share a max-norm rescaling; empty: no limit applies."""
        return []

    def norm(self) -> Tensor:
        """Frobenius norm of the scaled update, or of what LyCORIS limits instead."""
        norm: Tensor = torch.linalg.vector_norm(self.update())
        return norm

    def output(self, x: Tensor) -> Tensor:
        """The layer's output with the update in its weight, or computed separately and added."""
        layer, dtype = self._layer, self._precision(x)
        if not self._bypass and dtype == torch.float32 == layer.weight.dtype:
            whole: Tensor = self._kind(x, self.whole(), layer.bias, **self._options)
            return whole
        with torch.autocast(x.device.type, enabled=False):
            return self._beside_in(x.to(dtype))

    def _beside_in(self, x: Tensor) -> Tensor:
        """The layer's output with the update computed separately, in the precision of x; outside autocast."""
        return self._plus(x, self.change_in(x.dtype))

    def _low_rank_added(self, base: Tensor, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """base + up(down(x)) for factors down [r, in x window] and up [out, r], cast to the precision of x."""
        down, up = down.to(x.dtype).view(len(down), *self._shape[1:]), up.to(x.dtype)
        hidden = self._kind(x, down, None, **self._options)
        if self._kind is F.linear:
            return torch.addmm(base.flatten(0, -2), hidden.flatten(0, -2), up.t()).view(base.shape)
        return base + F.conv2d(hidden, up[:, :, None, None])

    def _precision(self, x: Tensor) -> torch.dtype:
        """The precision that the layer computes in."""
        kind = x.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype

    def _plus(self, x: Tensor, change: Tensor) -> Tensor:
        """The layer's output with its weight changed by `change`, both in the precision of x; outside autocast."""
        if is_computable(self._layer):
            return layer_plus_update(self._layer, x, change)
        return self._base_in(x) + self._kind(x, change, None, **self._options)

    def _base_in(self, x: Tensor) -> Tensor:
        """The unmodified layer's output in the precision of x, which may be another than its weight's."""
        is_wide = next(self._layer.parameters()).dtype != x.dtype
        with torch.autocast(x.device.type, x.dtype if is_wide else None, enabled=is_wide):
            output: Tensor = self._base(x)
        return output

    def whole(self) -> Tensor:
        """The changed weight in float32, at the current strength."""
        return weight_of(self._layer) + self.change()

    def whole_bias(self) -> Tensor | None:
        """The layer's bias in float32, with its change if the algorithm has one."""
        bias = self._layer.bias
        return None if bias is None else bias.float()

    def change(self) -> Tensor:
        """The update to the layer's weight at the current strength; always in float32.

        In half precision a small update would be lost in the sum with the weight.
        """
        change = self._dropped(self.update())
        return change if self.strength == 1 else self.strength * change

    def change_in(self, dtype: torch.dtype) -> Tensor:
        """The update at the current strength, computed in float32 and rounded once to a precision."""
        return self.change().to(dtype)

    def _dropped(self, update: Tensor) -> Tensor:
        return update

    def _channels(self, values: Tensor) -> Tensor:
        """One value per output channel, shaped to broadcast with the layer's output."""
        return values.view(-1, 1, 1) if self._kind is F.conv2d else values


class Rows:
    """Rank dropout as LyCORIS defines it for a rebuilt weight: some of its rows are zeroed."""

    def __init__(self, algorithm: Any) -> None:
        self.rate: float = algorithm.rank_dropout
        self.scaled: bool = algorithm.rank_dropout_scale

    def kept(self, count: int, like: Tensor) -> Tensor:
        """A mask [count] of zeros (with probability `rate`) and ones, drawn on the CPU so that all devices agree.

        `scaled`: divided by the share that is kept, as in LyCORIS; if none is kept, everything stays zero.
        """
        kept = (torch.rand(count) >= self.rate).to(torch.float32)
        if self.scaled:
            kept = kept / kept.mean().clamp(min=1 / count)
        return kept.to(like.device, like.dtype)

    def of(self, update: Tensor) -> Tensor:
        """The update with the dropped rows zeroed."""
        return update * self.kept(len(update), update).view(-1, *[1] * (update.dim() - 1))


class RowsAdapter(WeightAdapter[Module]):
    """A `WeightAdapter` with rank dropout over the rows of its update."""

    def __init__(self, key: str, module: Module, layer: Layer, algorithm: Any) -> None:
        super().__init__(key, module, layer, algorithm)
        self._rows = Rows(algorithm)

    def _dropped(self, update: Tensor) -> Tensor:
        return self._rows.of(update) if self._rows.rate and self.module.training else update


def geometry(layer: Layer) -> dict[str, Any]:
    """The arguments of a layer's function besides input, weight and bias."""
    if isinstance(layer, nn.Linear):
        return {}
    return {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}


def weight_of(layer: nn.Module) -> Tensor:
    """A layer's weight in float32."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.float()

"""Adapters without a rank: Full's weight difference, IA3's factors, and norms, which can train with any algorithm."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lycoris.modules.full import FullModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.norms import NormModule
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.networks.adapters.adapter import Adapter
from sweeplora.networks.adapters.frozen import Layer
from sweeplora.networks.adapters.weight_adapter import Rows, RowsAdapter, WeightAdapter, weight_of
from sweeplora.networks.algorithms import IA3, Algorithm, Full

Norm = nn.GroupNorm | nn.LayerNorm


class FullAdapter(RowsAdapter[FullModule]):
    """The full difference of weight and bias; rank dropout zeroes rows of both."""

    def __init__(self, algorithm: Full, key: str, layer: Layer, _: None) -> None:
        module = FullModule(key, layer).float()
        module._org_weight, module.org_bias = [], None  # frees a second copy of the base
        super().__init__(key, module, layer, algorithm)

    def update(self) -> Tensor:
        """The difference itself."""
        update: Tensor = self.module.weight.float()
        return update

    @classmethod
    def file_update(cls, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        return tensors["diff"].reshape(weight.shape)

    def output(self, x: Tensor) -> Tensor:
        """The layer's output with weight and bias changed."""
        rows = self._kept(x)
        change, shift = self.update() * self.strength, self._shift(rows)
        if rows is not None:
            change = change * rows.view(-1, *[1] * (change.dim() - 1))
        layer, bias, dtype = self._layer, self._layer.bias, self._precision(x)
        if dtype == torch.float32 == layer.weight.dtype:
            whole: Tensor = self._kind(
                x, layer.weight + change, bias if bias is None or shift is None else bias + shift, **self._options
            )
            return whole
        with torch.autocast(x.device.type, enabled=False):
            output = self._plus(x.to(dtype), change.to(dtype))
        return output if shift is None else output + self._channels(shift.to(dtype))

    def whole_bias(self) -> Tensor | None:
        """The layer's bias with its change, in float32."""
        bias, shift = super().whole_bias(), self._shift(None)
        return bias if bias is None or shift is None else bias + shift

    def _kept(self, x: Tensor) -> Tensor | None:
        if not (self._rows.rate and self.module.training):
            return None
        return self._rows.kept(len(self.module.weight), self.module.weight).float()

    def _shift(self, rows: Tensor | None) -> Tensor | None:
        if self.module.bias is None:
            return None
        shift: Tensor = self.module.bias.float() * self.strength
        return shift if rows is None else shift * rows

    def file_tensors(self) -> dict[str, Tensor]:
        bias = {} if self.module.bias is None else {"diff_b": self.module.bias}
        return {"diff": self.module.weight, **bias}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, mine in self.file_tensors().items():
            self._copy(mine, tensors, name)


class IA3Adapter(WeightAdapter[IA3Module]):
    """W times one factor per output or input channel; beside the layer, scales its output or input. The bias is kept.

    Beside the layer, LyCORIS 4.1.3 scales the bias too; it also cannot load its own file.
    """

    def __init__(self, algorithm: IA3, key: str, layer: Layer, _: None) -> None:
        super().__init__(key, IA3Module(key, layer, train_on_input=algorithm.train_on_input), layer, algorithm)
        self._on_input = algorithm.train_on_input

    def update(self) -> Tensor:
        """The weight times (the factors minus one)."""
        weight = weight_of(self._layer)
        shape = [1] * weight.dim()
        shape[int(self._on_input)] = -1
        update: Tensor = weight * self.module.weight.float().view(shape)
        return update

    def output(self, x: Tensor) -> Tensor:
        """The layer's output with its input or output scaled."""
        if self._bypass is False:
            return super().output(x)
        factors = self._channels(self.module.weight.flatten()).to(x.dtype) * self.strength
        if self._on_input:
            scaled: Tensor = self._base(x + x * factors)
            return scaled
        output: Tensor = self._base(x)
        plain = output if self._layer.bias is None else output - self._channels(self._layer.bias).to(output.dtype)
        return output + plain * factors

    def file_tensors(self) -> dict[str, Tensor]:
        return {"weight": self.module.weight, "on_input": self.module.on_input}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        if bool(tensors["on_input"]) != self._on_input:
            raise self._unfit("on_input", f"use network.train_on_input={str(not self._on_input).lower()}")
        self._copy(self.module.weight, tensors, "weight")


class NormAdapter(Adapter[NormModule]):
    """The difference of a norm's weight and bias; rank dropout zeroes channels.

    LyCORIS 4.1.3 keeps what rank dropout should drop.
    """

    _layer: Norm

    def __init__(self, algorithm: Algorithm, key: str, layer: Norm) -> None:
        super().__init__(key, NormModule(key, layer), layer, algorithm)
        self._rows = Rows(algorithm) if "rank_dropout" in vars(algorithm) else None

    def output(self, x: Tensor) -> Tensor:
        """The norm with weight and bias changed, in the norm's own precision."""
        layer = self._layer
        change, shift = (self.strength * part.float() for part in (self.module.w_norm, self.module.b_norm))
        if self._rows is not None and self._rows.rate and self.module.training:
            kept = self._rows.kept(len(change), change)
            change, shift = change * kept, shift * kept
        weight, bias = (
            (own.float() + part).to(own.dtype) for own, part in ((layer.weight, change), (layer.bias, shift))
        )
        if isinstance(layer, nn.GroupNorm):
            return F.group_norm(x, layer.num_groups, weight, bias, layer.eps)
        return F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)

    @classmethod
    def file_update(cls, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        return tensors["w_norm"].reshape(weight.shape)

    def file_tensors(self) -> dict[str, Tensor]:
        return {"w_norm": self.module.w_norm, "b_norm": self.module.b_norm}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, mine in self.file_tensors().items():
            self._copy(mine, tensors, name)

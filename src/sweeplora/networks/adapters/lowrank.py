"""Adapters whose update is a product of thin matrices: LoCon, DyLoRA."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from lycoris.functional.locon import diff_weight
from lycoris.modules.dylora import DyLoraModule
from lycoris.modules.locon import LoConModule
from torch import Tensor
from torch.nn import functional as F

from sweeplora.networks.adapters.decomposed import LowRank, decomposed_output
from sweeplora.networks.adapters.decomposed_adapter import DecomposedAdapter, decomposed_options
from sweeplora.networks.adapters.frozen import Layer, is_computable
from sweeplora.networks.adapters.tucker import factored_down, whole_down
from sweeplora.networks.adapters.weight_adapter import WeightAdapter, weight_of
from sweeplora.networks.algorithms import DyLoRA, LoCon
from sweeplora.networks.blocks import Rank

_LARGE = 100_000
"""Layer size (weights) from which DoRA's own backward pass is the faster in half precision (measured)."""

_CHEAP_TO_REBUILD = 16_384
"""Layer size (weights) up to which building a low-rank product is faster than applying it in two steps (measured)."""


class LoConAdapter(DecomposedAdapter[LoConModule]):
    """LoRA: runs beside a large layer as down and up; small layers, DoRA and `bypass_mode=false` rebuild the weight.

    Beside the layer, rank dropout zeroes ranks; in the weight, it zeroes rows.
    """

    plus: ClassVar[tuple[str, ...]] = ("lora_up",)

    def __init__(self, algorithm: LoCon, key: str, layer: Layer, rank: Rank) -> None:
        module = LoConModule(key, layer, **decomposed_options(algorithm, rank))
        super().__init__(key, module, layer, algorithm)
        small = math.prod(self._shape) <= _CHEAP_TO_REBUILD and not (algorithm.dropout or algorithm.rank_dropout)
        self._beside = not algorithm.dora and (not small if self._bypass is None else self._bypass)
        self._dropout = algorithm.dropout
        self.scale: float = module.scale
        self._alpha = rank.alpha * (rank.dim**0.5 if algorithm.rs_lora else 1.0)
        self._down, self._up = module.lora_down.weight, module.lora_up.weight
        self._middle = module.lora_mid.weight if module.tucker else None
        self._scalar = module.scalar if algorithm.use_scalar else None
        self.is_plain = self._middle is None and self._scalar is None
        self._decomposes_beside = (
            algorithm.dora
            and not algorithm.wd_on_output
            and self._middle is None
            and math.prod(self._shape) >= _LARGE
            and getattr(layer, "groups", 1) == 1
            and is_computable(layer)
        )
        if self._decomposes_beside:
            self._base_norms = torch.linalg.vector_norm(weight_of(layer).detach(), dim=self._axes)

    def update(self) -> Tensor:
        """alpha / dim x up @ down."""
        middle = None if self._middle is None else self._middle.float()
        product = low_rank(self._up.float(), self._down.float(), middle, self.scale)
        return product if self._scalar is None else product * self._scalar.float()

    @classmethod
    def file_update(cls, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        up, down = tensors["lora_up.weight"], tensors["lora_down.weight"]
        return low_rank(up, down, tensors.get("lora_mid.weight"), 1.0).reshape(weight.shape)

    def output(self, x: Tensor) -> Tensor:
        """The layer's output plus up(down(x)); with DoRA, the output with the changed weight."""
        if not self._beside:
            return super().output(x)
        training = self.module.training
        hidden = self._hidden(x)
        if training and self._rows.rate:
            hidden = hidden * self._channels(self._rows.kept(len(self._down), hidden))
        scale: float | Tensor = self.scale * self.strength
        if self._scalar is not None:
            scale = scale * self._scalar
        up = (self._up * scale).to(x.dtype)
        if self._kind is F.linear and not (training and self._dropout):
            base: Tensor = self._base(x)
            return torch.addmm(base.flatten(0, -2), hidden.flatten(0, -2), up.t()).view(base.shape)
        added = F.linear(hidden, up) if self._kind is F.linear else F.conv2d(hidden, up)
        if training and self._dropout:
            added = F.dropout(added, self._dropout)
        output: Tensor = self._base(x) + added
        return output

    def _beside_in(self, x: Tensor) -> Tensor:
        if not self._decomposes_beside or self.strength != 1:
            return super()._beside_in(x)
        up, down = self._dropped(self._up.float().flatten(1)) * self.scale, self._down.float().flatten(1)
        if self._scalar is not None:
            up = up * self._scalar.float()
        magnitude = self._magnitude().float().flatten()
        return decomposed_output(self._layer, x, LowRank(up, down), magnitude, self._base_norms)

    def _hidden(self, x: Tensor) -> Tensor:
        down = self._down.to(x.dtype)
        if self._middle is None:
            hidden: Tensor = self._kind(x, down, None, **self._options)
            return hidden
        return F.conv2d(F.conv2d(x, down), self._middle.to(x.dtype), None, **self._options)

    def factors(self) -> list[Tensor]:
        if self._scalar is not None:
            return [self._scalar]
        return [self._up, self._down] if self._middle is None else [self._up, self._middle, self._down]

    def file_tensors(self) -> dict[str, Tensor]:
        tensors = dict(self.module.custom_state_dict())
        tensors["alpha"] = torch.tensor(self._alpha)
        if self._middle is not None:  # diffusers refuses a file with one
            middle, down = tensors.pop("lora_mid.weight"), tensors["lora_down.weight"]
            tensors["lora_down.weight"] = whole_down(middle, down)
        return tensors

    def loaded_names(self) -> tuple[str, ...]:
        return (*self.file_tensors(), *(() if self._middle is None else ("lora_mid.weight",)))

    def _formed(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self._middle is None or "lora_mid.weight" in tensors or "lora_down.weight" not in tensors:
            return tensors
        middle, down = factored_down(tensors["lora_down.weight"].float())
        return {**tensors, "lora_mid.weight": middle, "lora_down.weight": down}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        factor = scale_in(tensors, len(self._down)) / self.scale
        self._copy(self._up, tensors, "lora_up.weight", factor)
        self._copy(self._down, tensors, "lora_down.weight")
        if self._middle is not None:
            self._copy(self._middle, tensors, "lora_mid.weight")
        if self._dora:
            self._copy(self.module.dora_scale, tensors, "dora_scale")
        self.module.scalar.fill_(1.0)


class DyLoRAAdapter(WeightAdapter[DyLoraModule]):
    """LoRA in blocks of ranks: training draws the number of active blocks, and only the last of them learns.

    The scale is alpha over the active ranks, as in the paper. LyCORIS 4.1.3 uses alpha over the active blocks, so
    its file does not match what was trained, and applies no scale at all beside the layer.
    """

    plus: ClassVar[tuple[str, ...]] = ("up_list",)

    def __init__(self, algorithm: DyLoRA, key: str, layer: Layer, rank: Rank) -> None:
        module = DyLoraModule(key, layer, lora_dim=rank.dim, alpha=rank.alpha, block_size=algorithm.block_size)
        super().__init__(key, module, layer, algorithm)
        self._alpha, self._dim, self._block = rank.alpha, rank.dim, algorithm.block_size
        self._downs, self._ups = list(module.down_list), list(module.up_list)

    def update(self) -> Tensor:
        """alpha / dim x up @ down with all ranks."""
        down, up = torch.cat(self._downs).float(), torch.cat(self._ups, 1).float()
        return (self._alpha / self._dim * up @ down).view(self._shape)

    def output(self, x: Tensor) -> Tensor:
        """The layer's output plus up(down(x)) over the active ranks."""
        if self._bypass is False:
            return super().output(x)
        down, up, scale = self._in_play()
        down = down.to(x.dtype).view(len(down), *self._shape[1:])
        up = (up * (scale * self.strength)).to(x.dtype)
        hidden = self._kind(x, down, None, **self._options)
        added = F.linear(hidden, up) if self._kind is F.linear else F.conv2d(hidden, up[:, :, None, None])
        output: Tensor = self._base(x) + added
        return output

    def change(self) -> Tensor:
        """The update to the layer's weight from the active ranks, at the current strength."""
        down, up, scale = self._in_play()
        return (scale * self.strength * up.float() @ down.float()).view(self._shape)

    def _in_play(self) -> tuple[Tensor, Tensor, float]:
        """down [r, in], up [out, r] and scale: in training r is random and only the last block learns."""
        count = len(self._downs)
        if not self.module.training:
            return torch.cat(self._downs), torch.cat(self._ups, 1), self._alpha / self._dim
        last = int(torch.randint(count, (1,)).item())
        down = torch.cat([block.detach() for block in self._downs[:last]] + [self._downs[last]])
        up = torch.cat([block.detach() for block in self._ups[:last]] + [self._ups[last]], 1)
        return down, up, self._alpha / len(down)

    def file_tensors(self) -> dict[str, Tensor]:
        sides = self._shape[2:]
        return {
            "alpha": torch.tensor(self._alpha),
            "lora_up.weight": torch.cat(self._ups, 1).view(-1, self._dim, *[1] * len(sides)),
            "lora_down.weight": torch.cat(self._downs).view(self._dim, -1, *sides),
        }

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        factor = scale_in(tensors, self._dim) * self._dim / self._alpha
        mine = {name: torch.empty_like(value) for name, value in self.file_tensors().items()}
        self._copy(mine["lora_up.weight"], tensors, "lora_up.weight", factor)
        self._copy(mine["lora_down.weight"], tensors, "lora_down.weight")
        ups = mine["lora_up.weight"].flatten(1).split(self._block, 1)
        downs = mine["lora_down.weight"].flatten(1).split(self._block)
        for block, value in zip([*self._ups, *self._downs], [*ups, *downs], strict=True):
            block.copy_(value)


def low_rank(up: Tensor, down: Tensor, middle: Tensor | None, scale: float) -> Tensor:
    """scale x up @ down [out, in, …]; `middle` [r, r, kernel, kernel] goes between them in Tucker form."""
    if middle is not None:
        product: Tensor = diff_weight(down, up, middle, gamma=scale)
        return product
    # LyCORIS' product: its choice between backends takes longer than a small one.
    return ((up * scale).flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])


def scale_in(tensors: Mapping[str, Tensor], dim: int) -> float:
    """alpha / dim of one layer in a file; 1 if there is no alpha."""
    return float(tensors["alpha"]) / dim if "alpha" in tensors else 1.0

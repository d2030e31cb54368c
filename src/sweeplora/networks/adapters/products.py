"""Adapters whose update is a Hadamard (LoHa) or Kronecker (LoKr) product."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from lycoris.functional.loha import diff_weight
from lycoris.functional.lokr import kron_weight
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from torch import Tensor

from sweeplora.networks.adapters.decomposed_adapter import DecomposedAdapter, decomposed_options
from sweeplora.networks.adapters.frozen import Layer
from sweeplora.networks.adapters.kronecker import kronecker_product
from sweeplora.networks.adapters.lowrank import scale_in
from sweeplora.networks.adapters.tucker import factored_block, whole_block
from sweeplora.networks.algorithms import LoHa, LoKr
from sweeplora.networks.blocks import Rank

_CHEAP_TO_REBUILD = 100_000
"""Layer size (weights) below which building a Kronecker product is faster than applying it in two steps (measured)."""

_THIN = 2
"""How often LoHa's factors must fit into a layer (weights) to be the faster in half precision (measured)."""


class LoHaAdapter(DecomposedAdapter[LohaModule]):
    """LoHa. LyCORIS 4.1.3 applies the scale twice in its forward and when it merges, and omits the scalar
    when it merges; every other program applies scale and scalar once."""

    def __init__(self, algorithm: LoHa, key: str, layer: Layer, rank: Rank) -> None:
        module = LohaModule(key, layer, **decomposed_options(algorithm, rank))
        super().__init__(key, module, layer, algorithm)
        self._scalar = module.scalar if algorithm.use_scalar else None
        names = ("hada_w1_b", "hada_w1_a", "hada_w2_b", "hada_w2_a", *(("hada_t1", "hada_t2") if module.tucker else ()))
        self._parts: dict[str, Tensor] = {name: getattr(module, name) for name in names}
        rows, columns = self._shape[0], math.prod(self._shape[1:])
        is_small = rank.dim**2 * (rows + columns) * _THIN <= rows * columns
        is_plain = not (module.tucker or algorithm.dora) and getattr(layer, "groups", 1) == 1
        self._in_factors = is_plain and (is_small if self._bypass is None else self._bypass)

    def update(self) -> Tensor:
        """alpha / dim x (w1_a w1_b) o (w2_a w2_b)."""
        parts = {name: part.float() for name, part in self._parts.items()}
        update = hadamard(parts, self.module.scale).reshape(self._shape)
        return update if self._scalar is None else update * self._scalar.float()

    @classmethod
    def file_update(cls, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        return hadamard(tensors, 1.0).reshape(weight.shape)

    def _beside_in(self, x: Tensor) -> Tensor:
        if not self._in_factors:
            return super()._beside_in(x)
        down, up = faces(self._parts, self.module.scale * self.strength)
        if self._scalar is not None:
            up = up * self._scalar.float()
        return self._low_rank_added(self._base_in(x), x, down, self._dropped(up))

    def factors(self) -> list[Tensor]:
        return list(self._parts.values()) if self._scalar is None else [self._scalar]

    def file_tensors(self) -> dict[str, Tensor]:
        return scaled_in(self.module, "hada_w1_a")

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        factor = scale_in(tensors, self.module.lora_dim) / self.module.scale
        for name, part in self._parts.items():
            self._copy(part, tensors, name, factor if name == "hada_w1_a" else 1.0)
        if self._dora:
            self._copy(self.module.dora_scale, tensors, "dora_scale")
        self.module.scalar.fill_(1.0)


class LoKrAdapter(DecomposedAdapter[LokrModule]):
    """LoKr: large layers apply it beside the layer in two steps, others rebuild the weight.

    LyCORIS 4.1.3 applies the scale twice when it merges.
    """

    def __init__(self, algorithm: LoKr, key: str, layer: Layer, rank: Rank) -> None:
        module = LokrModule(
            key,
            layer,
            factor=algorithm.factor,
            decompose_both=algorithm.decompose_both,
            full_matrix=algorithm.full_matrix,
            unbalanced_factorization=algorithm.unbalanced_factorization,
            **decomposed_options(algorithm, rank),
        )
        if module.use_w1 and module.use_w2:
            module.scale = 1.0  # without a rank, rs_lora has nothing to divide by
        super().__init__(key, module, layer, algorithm)
        large = layer.weight.numel() > _CHEAP_TO_REBUILD
        self._beside = not algorithm.dora and (large if self._bypass is None else self._bypass)
        self._scalar = module.scalar if algorithm.use_scalar else None
        small = ("lokr_w1",) if module.use_w1 else ("lokr_w1_a", "lokr_w1_b")
        middle = ("lokr_t2",) if module.tucker and not module.use_w2 else ()
        names = (*small, *(("lokr_w2",) if module.use_w2 else ("lokr_w2_a", "lokr_w2_b")), *middle)
        self._parts: dict[str, Tensor] = {name: getattr(module, name) for name in names}

    def update(self) -> Tensor:
        """alpha / dim x kron(w1, w2)."""
        parts = {name: part.float() for name, part in self._parts.items()}
        update = kronecker(parts, self.module.scale).view(self._shape)
        return update if self._scalar is None else update * self._scalar.float()

    @classmethod
    def file_update(cls, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        return kronecker(tensors, 1.0).reshape(weight.shape)

    def output(self, x: Tensor) -> Tensor:
        """The layer's output; where cheaper, the two factors are applied beside the layer, one after the other."""
        if not self._beside:
            return super().output(x)
        added: Tensor = self.module.bypass_forward_diff(x, scale=self.strength)
        if self._rows.rate and self.module.training:
            added = added * self._channels(self._rows.kept(self.module.shape[0], added))
        output: Tensor = self._base(x) + added
        return output

    def change_in(self, dtype: torch.dtype) -> Tensor:
        """The update in a precision; where nothing is dropped from it, its product is rounded once."""
        if self._dora or (self._rows.rate and self.module.training):
            return super().change_in(dtype)
        left, right = halves({name: part.float() for name, part in self._parts.items()})
        scale = self.module.scale * self.strength
        left = left * (scale if self._scalar is None else scale * self._scalar.float())
        return kronecker_product(left, right, dtype).view(self._shape)

    def factors(self) -> list[Tensor]:
        return list(self._parts.values())

    def file_tensors(self) -> dict[str, Tensor]:
        tensors = scaled_in(self.module, "lokr_w1" if self.module.use_w1 else "lokr_w1_a")
        if "lokr_t2" in self._parts:  # ComfyUI and Forge ignore a layer that has one
            factors = [tensors.pop(name) for name in ("lokr_t2", "lokr_w2_a", "lokr_w2_b")]
            tensors["lokr_w2"] = whole_block(*factors)
        return tensors

    def loaded_names(self) -> tuple[str, ...]:
        others = (name for name in self.file_tensors() if name != "lokr_w2" and name not in self._parts)
        return (*self._parts, *others)

    def _formed(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if "lokr_t2" not in self._parts or "lokr_w2" not in tensors:
            return tensors
        whole = tensors["lokr_w2"].float()
        rest = {name: value for name, value in tensors.items() if name != "lokr_w2"}
        factors = factored_block(whole, self.module.lora_dim)
        return {**rest, **dict(zip(("lokr_t2", "lokr_w2_a", "lokr_w2_b"), factors, strict=True))}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        whole = self.module.use_w1 and self.module.use_w2
        factor = 1.0 if whole else scale_in(tensors, self.module.lora_dim) / self.module.scale
        for name, part in self._parts.items():
            self._copy(part, tensors, name, factor if name in ("lokr_w1", "lokr_w1_a") else 1.0)
        if self._dora:
            self._copy(self.module.dora_scale, tensors, "dora_scale")
        self.module.scalar.fill_(1.0)


def faces(factors: Mapping[str, Tensor], scale: float) -> tuple[Tensor, Tensor]:
    """LoHa's update as a low-rank product of rank r squared: down [r^2, in x window] and up [out, r^2], float32."""
    w1_b, w1_a, w2_b, w2_a = (factors[f"hada_{name}"].float() for name in ("w1_b", "w1_a", "w2_b", "w2_a"))
    down = w1_b[:, None] * w2_b
    up = scale * w1_a[:, :, None] * w2_a[:, None]
    return down.flatten(0, 1), up.flatten(1)


def hadamard(factors: Mapping[str, Tensor], scale: float) -> Tensor:
    """LoHa's scale x (w1_a w1_b) o (w2_a w2_b), from the factors by their file names; Tucker form if t is given."""
    names = ("hada_w1_b", "hada_w1_a", "hada_w2_b", "hada_w2_a", "hada_t1", "hada_t2")
    first = factors["hada_w1_b"]
    gamma = torch.full((), scale, dtype=torch.float32, device=first.device)
    product: Tensor = diff_weight(*(factors.get(name) for name in names), gamma=gamma)
    return product


def kronecker(factors: Mapping[str, Tensor], scale: float) -> Tensor:
    """LoKr's scale x kron(w1, w2), from the factors by their file names; each is whole or split, w2 also with a t."""
    names = ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")
    product: Tensor = kron_weight(*(factors.get(f"lokr_{name}") for name in names), scale=scale)
    return product


def halves(factors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """LoKr's w1 [a, b] and w2 [c, d, window] from the factors by their file names."""
    small, large = factors.get("lokr_w1"), factors.get("lokr_w2")
    if small is None:
        small = factors["lokr_w1_a"] @ factors["lokr_w1_b"]
    if large is None and "lokr_t2" in factors:
        large = whole_block(factors["lokr_t2"], factors["lokr_w2_a"], factors["lokr_w2_b"])
    elif large is None:
        large = factors["lokr_w2_a"] @ factors["lokr_w2_b"].flatten(1)
    return small, large


def scaled_in(module: LohaModule | LokrModule, factor: str) -> dict[str, Tensor]:
    """Multiply alpha / dim into one factor and store alpha = dim, so that a loader that applies the scale once, twice
    (LyCORIS 4.1.3 itself) or never (any loader, if both LoKr factors are full) gets the same update."""
    tensors = dict(module.custom_state_dict())
    tensors[factor] = tensors[factor] * module.scale
    tensors["alpha"] = torch.tensor(float(module.lora_dim))
    return tensors

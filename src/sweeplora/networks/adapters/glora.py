"""GLoRA's adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from lycoris.modules.glora import GLoRAModule
from torch import Tensor
from torch.nn import functional as F

from sweeplora.networks.adapters.frozen import Layer
from sweeplora.networks.adapters.lowrank import scale_in
from sweeplora.networks.adapters.weight_adapter import Rows, WeightAdapter, weight_of
from sweeplora.networks.algorithms import GLoRA
from sweeplora.networks.blocks import Rank


class GLoRAAdapter(WeightAdapter[GLoRAModule]):
    """W A + B with A and B low-rank: the layer sees x + A x, and B x is added.

    LyCORIS 4.1.3 keeps what rank dropout should drop, writes an alpha that ignores rs_lora, and never creates
    the Tucker form that it has an option for.
    """

    def __init__(self, algorithm: GLoRA, key: str, layer: Layer, rank: Rank) -> None:
        module = GLoRAModule(
            key,
            layer,
            lora_dim=rank.dim,
            alpha=rank.alpha,
            use_scalar=algorithm.use_scalar,
            rs_lora=algorithm.rs_lora,
        )
        super().__init__(key, module, layer, algorithm)
        self._ranks = Rows(algorithm)
        self._dropout = algorithm.dropout
        self._scale: float = module.scale

    def update(self) -> Tensor:
        """alpha / dim x (W a1 a2 + b1 b2)."""
        factors = [part.float() for part in self._parts()]
        update: Tensor = mixed_and_added(weight_of(self._layer), factors) * (self._scale * self.module.scalar.float())
        return update

    @classmethod
    def file_update(cls, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        formed = GLoRA.FILE.formed(tensors, weight.shape)
        return mixed_and_added(weight, [formed[f"{name}.weight"] for name in ("a1", "a2", "b1", "b2")])

    def output(self, x: Tensor) -> Tensor:
        """W(x + A x) + B x."""
        if self._bypass is False:
            return super().output(x)
        a1, a2, b1, b2 = (part.to(x.dtype) for part in self._parts())
        scale = (self._scale * self.strength * self.module.scalar).to(x.dtype)
        point = F.linear if self._kind is F.linear else F.conv2d
        mixed = self._silenced(point(self._ranked(point(x, a2)), a1))
        own = self._silenced(point(self._ranked(self._kind(x, b2, None, **self._options)), b1))
        output: Tensor = self._base(x + mixed * scale) + own * scale
        return output

    def _ranked(self, hidden: Tensor) -> Tensor:
        if not (self._ranks.rate and self.module.training):
            return hidden
        return hidden * self._channels(self._ranks.kept(self.module.lora_dim, hidden))

    def _silenced(self, added: Tensor) -> Tensor:
        return F.dropout(added, self._dropout) if self._dropout and self.module.training else added

    def _parts(self) -> list[Tensor]:
        return [part.weight for part in (self.module.a1, self.module.a2, self.module.b1, self.module.b2)]

    def file_tensors(self) -> dict[str, Tensor]:
        """A linear layer's factors by the names of LyCORIS' earlier versions, the only ones that A1111 knows.

        ComfyUI and Forge tell them by the shapes. A1111 applies no alpha: alpha / dim is multiplied in.
        """
        a1, a2, b1, b2 = self._parts()
        inner = self._scale * self.module.scalar
        tensors = {"a1.weight": a1, "a2.weight": a2 * inner, "b1.weight": b1, "b2.weight": b2 * inner}
        if self._kind is F.linear:
            names = {"a1": "a2", "a2": "a1", "b1": "b2", "b2": "b1"}
            tensors = {f"{names[name[:2]]}.weight": value for name, value in tensors.items()}
        return {**tensors, "alpha": torch.tensor(float(self.module.lora_dim))}

    def _formed(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return GLoRA.FILE.formed(tensors, self._shape)

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        factor = scale_in(tensors, self.module.lora_dim) / self._scale
        for name, part in zip(("a1", "a2", "b1", "b2"), self._parts(), strict=True):
            self._copy(part, tensors, f"{name}.weight", factor if name in ("a2", "b2") else 1.0)
        self.module.scalar.fill_(1.0)


def mixed_and_added(weight: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """GLoRA's W a1 a2 + b1 b2 in the weight's shape; `factors`: a1 [in, r], a2 [r, in], b1 [out, r], b2 [r, in, …]."""
    a1, a2, b1, b2 = (factor.flatten(1) for factor in factors)
    return torch.einsum("oi...,ij->oj...", weight, a1 @ a2) + (b1 @ b2).view(weight.shape)

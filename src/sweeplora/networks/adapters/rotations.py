"""Adapters that rotate a layer's output channels: block by block (OFT) or in butterfly stages (BOFT)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from torch import Tensor
from torch.nn import functional as F

from sweeplora.networks.adapters.frozen import Layer
from sweeplora.networks.adapters.weight_adapter import Rows, WeightAdapter, weight_of
from sweeplora.networks.algorithms import BOFT, DiagOFT
from sweeplora.networks.blocks import Rank
from sweeplora.networks.refusals import check_boft

Rotation = TypeVar("Rotation", DiagOFTModule, ButterflyOFTModule)


class RotatedAdapter(WeightAdapter[Rotation]):
    """R W - W for an orthogonal R; with `rescaled`, also a factor per output channel.

    Beside the layer, its output minus the bias is rotated. LyCORIS 4.1.3 rotates the bias too in this case, which no
    program that merges a file does. Files hold the blocks with the constraint already applied, and a constraint
    that they stay below, because loaders interpret it differently: LyCORIS and A1111 per output channel, ComfyUI
    as it is, and A1111 reads 0 as "no rotation" where the others read "no constraint".
    """

    def __init__(self, key: str, module: Rotation, layer: Layer, algorithm: DiagOFT | BOFT) -> None:
        super().__init__(key, module, layer, algorithm)
        self._limit = algorithm.constraint * self._shape[0]
        self._rescaled = algorithm.rescaled
        self._rows = Rows(algorithm) if isinstance(algorithm, DiagOFT) else None

    def update(self) -> Tensor:
        """The change of the weight by rotation and factors."""
        return self._rotated(weight_of(self._layer))

    def output(self, x: Tensor) -> Tensor:
        """The layer's output plus its change by rotation and factors."""
        if self._bypass is False:
            return super().output(x)
        output: Tensor = self._base(x)
        bias = self._layer.bias
        plain = output if bias is None else output - self._channels(bias).to(output.dtype)
        axis = -1 if self._kind is F.linear else 1
        with torch.autocast(x.device.type, enabled=False):
            added = self._rotated(plain.movedim(axis, 0).float()).movedim(0, axis)
        if self._rows is not None and self._rows.rate and self.module.training:
            added = added * self._channels(self._rows.kept(added.shape[axis], added))
        return output + (self.strength * added).to(output.dtype)

    def _dropped(self, update: Tensor) -> Tensor:
        dropping = self._rows is not None and self._rows.rate and self.module.training
        return self._rows.of(update) if dropping and self._rows is not None else update

    def _rotated(self, values: Tensor) -> Tensor:
        """The change of values [out, …] by rotation and factors."""
        added = self._turned(values, rotations(skew(self.module.oft_blocks.float(), self._limit))) - values
        if self._rescaled:
            factors = self.module.rescale.float().view(-1, *[1] * (values.dim() - 1))
            added = factors * added + (factors - 1) * values
        return added

    @abstractmethod
    def _turned(self, values: Tensor, blocks: Tensor) -> Tensor: ...

    def factors(self) -> list[Tensor]:
        return [self.module.oft_blocks]

    def norm(self) -> Tensor:
        norm: Tensor = self.module.oft_blocks.float().norm()
        return norm

    def file_tensors(self) -> dict[str, Tensor]:
        blocks = self.module.oft_blocks
        turned = skew(blocks.detach().float(), self._limit)
        half = (turned / 2) if self._limit else blocks
        factors = {"rescale": self.module.rescale} if self._rescaled else {}
        return {"oft_blocks": half, **factors, "alpha": 1.0 + turned.norm().cpu()}

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        given = tensors["oft_blocks"].float()
        limit = float(tensors["alpha"]) * self._shape[0] if "alpha" in tensors else 0.0
        turned = skew(given, limit)
        if self._limit and turned.norm() > self._limit * (1 + 1e-5):
            raise self._unfit("oft_blocks", "turns further than network.constraint allows; use 0 or a larger one")
        bound = limit and skew(given, 0.0).norm() > limit
        self._copy(self.module.oft_blocks, {"oft_blocks": turned / 2 if bound else given}, "oft_blocks")
        if self._rescaled:
            self._copy(self.module.rescale, tensors, "rescale")


class DiagOFTAdapter(RotatedAdapter[DiagOFTModule]):
    """OFT: each block of adjacent channels is rotated independently."""

    def __init__(self, algorithm: DiagOFT, key: str, layer: Layer, rank: Rank) -> None:
        module = DiagOFTModule(key, layer, lora_dim=rank.dim, rescaled=algorithm.rescaled)
        super().__init__(key, module, layer, algorithm)

    def _turned(self, values: Tensor, blocks: Tensor) -> Tensor:
        parted = values.reshape(*blocks.shape[:2], -1)
        return torch.bmm(blocks.transpose(1, 2), parted).view(values.shape)


class BOFTAdapter(RotatedAdapter[ButterflyOFTModule]):
    """BOFT: each stage rotates blocks of channels that are twice as far apart as in the previous stage."""

    def __init__(self, algorithm: BOFT, key: str, layer: Layer, rank: Rank) -> None:
        check_boft(rank.dim, [tuple(layer.weight.shape)])
        module = ButterflyOFTModule(key, layer, lora_dim=rank.dim, rescaled=algorithm.rescaled)
        super().__init__(key, module, layer, algorithm)

    def _turned(self, values: Tensor, blocks: Tensor) -> Tensor:
        channels = torch.arange(len(values), device=values.device)
        for number, stage in enumerate(blocks):
            apart = 2**number * (stage.shape[-1] // 2)
            order = channels.view(-1, 2, apart).transpose(1, 2).flatten()
            parted = values[order].reshape(*stage.shape[:2], -1)
            values = torch.bmm(stage, parted).view(values.shape)[order.argsort()]
        return values


def skew(blocks: Tensor, limit: float) -> Tensor:
    """B - B^T for blocks [..., b, b], scaled down so that their total norm is at most `limit` (0: no limit)."""
    skewed = blocks - blocks.transpose(-1, -2)
    if not limit:
        return skewed
    room: Tensor = limit / (skewed.norm() + 1e-8)
    return skewed * room.clamp(max=1)


def rotations(skewed: Tensor) -> Tensor:
    """Cayley transform (1 + Q)(1 - Q)^-1 of skew-symmetric Q [..., b, b]: orthogonal, and the identity for Q = 0."""
    one = torch.eye(skewed.shape[-1], device=skewed.device)
    turned: Tensor = torch.linalg.solve(one - skewed, one + skewed, left=False)
    return turned

"""T-LoRA's adapter: at high noise only its first ranks learn."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import ClassVar

import torch
from lycoris.modules.tlora import TLoraModule
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.networks.adapters.frozen import Layer
from sweeplora.networks.adapters.weight_adapter import WeightAdapter
from sweeplora.networks.algorithms import TLoRA
from sweeplora.networks.blocks import Rank


class TLoRAAdapter(WeightAdapter[TLoraModule]):
    """alpha / dim x (p lambda q - its initial value), over the ranks that a noise level allows.

    `ranks`: how many ranks each sample of the batch may use in training; None, and outside training: all. A
    convolution is treated as a linear layer over its window, as in LyCORIS' own initialisation. LyCORIS 4.1.3
    reduces kernels above 1x1 to a single point, pads them wrongly, and cannot mask samples individually. The file
    is that of a LoRA of twice the rank, which all programs load; LyCORIS' own file lacks the initial values, which
    must be guessed from the base.
    """

    plus: ClassVar[tuple[str, ...]] = ("p_layer",)

    def __init__(self, algorithm: TLoRA, key: str, layer: Layer, rank: Rank) -> None:
        gc.freeze()  # TLoraModule runs the garbage collector after each SVD, which takes half a second
        module = TLoraModule(
            key,
            _flat(layer),
            lora_dim=rank.dim,
            alpha=rank.alpha,
            sig_type=algorithm.sig_type,
            use_data_init=algorithm.use_data_init,
        )
        gc.unfreeze()
        module.org_module = [layer]
        super().__init__(key, module, layer, algorithm)
        self.ranks: Tensor | None = None
        self._dropout, self._least, self._exponent = algorithm.dropout, algorithm.min_rank, algorithm.rank_exponent

    def update(self) -> Tensor:
        """The update with all ranks."""
        now, start = (p @ (lam.T * q) for p, lam, q in self._both(torch.float32))
        update: Tensor = (self.module.scale * (now - start)).view(self._shape)
        return update

    def at(self, timesteps: Tensor, num_timesteps: int) -> None:
        """Set the ranks of a batch from its noise levels [B]: all at 0, `min_rank` at the highest."""
        dim = self.module.lora_dim
        share = ((num_timesteps - timesteps.double()) / num_timesteps) ** self._exponent
        self.ranks = ((share * (dim - self._least)).long() + self._least).clamp(max=dim)

    def output(self, x: Tensor) -> Tensor:
        """The layer's output plus the update from the active ranks."""
        # For a transposed input, torch uses different products for trained and untrained tensors.
        x = x.contiguous()
        added = torch.sub(*(self._through(x, *parts) for parts in self._both(x.dtype)))
        if self._dropout and self.module.training:
            added = F.dropout(added, self._dropout)
        output: Tensor = self._base(x) + added * (self.module.scale * self.strength)
        return output

    def _both(self, dtype: torch.dtype) -> list[tuple[Tensor, Tensor, Tensor]]:
        """p [out, r], lambda [1, r] and q [r, in], current and initial."""
        module = self.module
        now = (module.p_layer.weight, module.lambda_layer, module.q_layer.weight)
        start = (module.base_p, module.base_lambda, module.base_q)
        return [(p.to(dtype), lam.to(dtype), q.to(dtype)) for p, lam, q in (now, start)]

    def _through(self, x: Tensor, p: Tensor, lam: Tensor, q: Tensor) -> Tensor:
        mask = self._mask(lam)
        if self._kind is F.linear:
            weights = mask.view(len(mask), *[1] * (x.dim() - 2), -1)
            return F.linear(F.linear(x, q) * weights, p)
        shape = self._shape
        hidden = F.conv2d(x, q.view(len(q), *shape[1:]), None, **self._options)
        return F.conv2d(hidden * mask[:, :, None, None], p[:, :, None, None])

    def _mask(self, lam: Tensor) -> Tensor:
        """lambda [1 or B, r], 0 where a sample's noise level masks the rank."""
        if self.ranks is None or not self.module.training:
            return lam
        return lam * (torch.arange(lam.shape[1], device=lam.device) < self.ranks[:, None])

    def state(self) -> dict[str, Tensor]:
        start = {"base_q": self.module.base_q, "base_p": self.module.base_p, "base_lambda": self.module.base_lambda}
        return {**super().state(), **start}

    def file_tensors(self) -> dict[str, Tensor]:
        (p, lam, q), (p_start, lam_start, q_start) = self._both(torch.float32)
        shape = self._shape
        down = torch.cat([q, q_start])
        return {
            "alpha": torch.tensor(float(self.module.scale * len(down))),
            "lora_up.weight": torch.cat([p * lam, -p_start * lam_start], 1).view(shape[0], -1, *[1] * len(shape[2:])),
            "lora_down.weight": down.view(-1, *shape[1:]),
        }

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        raise self._unfit("lora_up.weight", "T-LoRA cannot tell its parts in a plain LoRA; use network=locon")


def _flat(layer: Layer) -> nn.Linear:
    """A linear layer over a convolution's window that shares its memory; a linear layer unchanged."""
    if isinstance(layer, nn.Linear):
        return layer
    weight = layer.weight.detach().flatten(1)
    flat = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    flat.weight = nn.Parameter(weight, requires_grad=False)
    return flat

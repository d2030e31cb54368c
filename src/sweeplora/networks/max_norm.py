"""Max-norm: scales every update down to at most a given norm (`scale_weight_norms`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sweeplora.networks.adapters.adapter import Adapter
from sweeplora.networks.adapters.lowrank import LoConAdapter
from sweeplora.networks.adapters.weight_adapter import WeightAdapter


class NormLimit(NamedTuple):
    """How many updates were scaled down, and the norms of all of them afterwards."""

    scaled: int
    mean: float
    largest: float


@torch.no_grad()
def limit_norms(adapters: Sequence[Adapter[Any]], maximum: float) -> NormLimit:
    """Scale each update with a Frobenius norm above `maximum` down to it; synchronises with the device once.

    The norm is that of the update including alpha and scalar; for an orthogonal network it is that of its blocks, as
    in LyCORIS. The ratio is spread evenly over the factors of a product, as in sd-scripts (LyCORIS puts it into a
    separate scalar for LoCon and LoHa; the update is the same); a trained scalar absorbs it alone. Adapters without
    a limit (Full, IA3, norms, GLoRA, DyLoRA, T-LoRA) are left unchanged, as in LyCORIS.
    """
    limited = [adapter for adapter in adapters if isinstance(adapter, WeightAdapter) and adapter.factors()]
    if not limited:
        return NormLimit(0, 0.0, 0.0)
    norms = measure(limited)
    ratios = (maximum / norms).clamp(max=1)
    factors: list[Tensor] = []
    roots: list[Tensor] = []
    powers: dict[int, list[Tensor]] = {}
    for number, adapter in enumerate(limited):
        parts = adapter.factors()
        count = len(parts)
        if count not in powers:
            powers[count] = list((ratios ** (1 / count)).unbind())
        factors += parts
        roots += [powers[count][number]] * count
    torch._foreach_mul_(factors, roots)
    limits = norms * ratios
    scaled, mean, largest = torch.stack([(ratios < 1).sum().to(norms), limits.mean(), limits.max()]).tolist()
    return NormLimit(int(scaled), mean, largest)


def measure(adapters: Sequence[WeightAdapter[Any]]) -> Tensor:
    """The norms [n] of adapters, in float32; LoCons of one shape are measured together.

    |up down|^2 is the sum of (up^T up) o (down down^T), which avoids a matrix of the layer's size.
    """
    alike: dict[tuple[torch.Size, torch.Size, float], list[int]] = {}
    norms: list[Tensor | None] = [None] * len(adapters)
    for number, adapter in enumerate(adapters):
        if isinstance(adapter, LoConAdapter) and adapter.is_plain:
            up, down = adapter.factors()
            alike.setdefault((up.shape, down.shape, adapter.scale), []).append(number)
        else:
            norms[number] = adapter.norm()
    for (_, _, scale), numbers in alike.items():
        pairs = [adapters[number].factors() for number in numbers]
        ups = torch.stack([up for up, _ in pairs]).flatten(2).float()
        downs = torch.stack([down for _, down in pairs]).flatten(2).float()
        squares = (torch.bmm(ups.transpose(1, 2), ups) * torch.bmm(downs, downs.transpose(1, 2))).sum((1, 2))
        for number, norm in zip(numbers, (squares.clamp(min=0).sqrt() * scale).unbind(), strict=True):
            norms[number] = norm
    return torch.stack([norm for norm in norms if norm is not None])

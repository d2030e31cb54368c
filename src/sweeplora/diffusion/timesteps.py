"""The timesteps at which samples are trained or validated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def uniform(generators: Sequence[Generator], minimum: int, maximum: int) -> Tensor:
    """One timestep [B] (int64) in [minimum, maximum) for each generator."""
    draws = [torch.randint(minimum, maximum, (), generator=generator) for generator in generators]
    return torch.stack(draws) if draws else torch.empty(0, dtype=torch.int64)


def stratified(generator: Generator, count: int, num_timesteps: int) -> Tensor:
    """`count` timesteps [count] (int64), one drawn in each of `count` equal parts of [0, num_timesteps)."""
    places = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return (places * num_timesteps).long().clamp(max=num_timesteps - 1)

"""The tiny models of both families, opened, and what they predict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweeplora.models.family import Family
from sweeplora.networks.network import PARTS, Network, attach
from tests.models import families

SIZES = torch.tensor([[48.0, 64.0, 0.0, 0.0, 48.0, 64.0]] * 2)
TIMESTEPS = torch.tensor([20, 800])
CAPTIONS = ["red apple, food", "rocket"]


def opened(kind: str, folder: Path, **changes: Any) -> Family:
    """A model of a family in a folder, on the CPU."""
    source = families.sdxl if kind == "sdxl" else families.sd15
    return source(folder, **changes).load(families.CPU)


def latents() -> Tensor:
    """Two pictures of 12 x 16 latents, always the same."""
    return torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1))


def predicted(family: Family) -> Tensor:
    """The U-Net's prediction for fixed latents and two captions, text encoders included."""
    with torch.no_grad():
        return family.predict(latents(), TIMESTEPS, family.encode_text(CAPTIONS), SIZES)


@contextmanager
def moved(family: Family, algorithm: Any) -> Iterator[Network]:
    """A network that stands as if it had been trained: every parameter moved."""
    network = attach(family, algorithm, 0)
    network.train(False)
    generator = torch.Generator().manual_seed(3)
    for part in PARTS:
        for parameter in network.parameters(part):
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    try:
        yield network
    finally:
        network.detach()

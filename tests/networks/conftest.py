"""The tiny model loaded, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sweeplora.models.family import Family
from sweeplora.models.sdxl import SDXL

Predict = Callable[[], Tensor]


def load(path: Path) -> Family:
    """A model of SDXL's architecture, as its shipped configuration loads it."""
    return SDXL(
        name="tiny",
        path=str(path),
        vae=None,
        prediction=None,
        zero_terminal_snr=False,
        max_tokens=75,
        attention="sdpa",
        vae_precision="fp32",
        base_precision=None,
        base_weights=None,
        base_weights_multiplier=None,
    ).load(torch.device("cpu"))


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Family:
    """One loaded model for every test: who attaches a network detaches it."""
    return load(tiny_model)


@pytest.fixture(scope="session")
def predict(model: Family) -> Predict:
    """The U-Net's prediction for fixed latents and two captions, text encoders included."""
    latents = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    sizes = torch.tensor([[48.0, 64.0, 0.0, 0.0, 48.0, 64.0]] * 2)

    def run() -> Tensor:
        with torch.no_grad():
            text = model.encode_text(["red apple, food", "rocket"])
            return model.predict(latents, torch.tensor([20, 800]), text, sizes)

    return run

"""The tiny model loaded, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sweeplora.models import sdxl
from sweeplora.models.sdxl import SDXL

Predict = Callable[[], Tensor]


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> SDXL:
    """One loaded model for every test: who attaches a network detaches it."""
    return sdxl.load(str(tiny_model), "tiny", None, None, False)


@pytest.fixture(scope="session")
def predict(model: SDXL) -> Predict:
    """The U-Net's prediction for fixed latents and two captions, text encoders included."""
    latents = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    sizes = torch.tensor([[48.0, 64.0, 0.0, 0.0, 48.0, 64.0]] * 2)

    def run() -> Tensor:
        with torch.no_grad():
            text = model.encode_text(["red apple, food", "rocket"])
            return model.predict(latents, torch.tensor([20, 800]), text, sizes)

    return run

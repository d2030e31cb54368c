"""Base models as conf/model gives them, with another path and other values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.models.family import Family
from sweeplora.models.sd15 import SD15
from sweeplora.models.sdxl import SDXL

CPU = torch.device("cpu")


def sdxl(path: Path, **changes: Any) -> SDXL:
    """An SDXL model with the values of conf/model/sdxl.yaml and `changes`."""
    base: SDXL = build(compose(["model=sdxl", f"model.path='{path}'"]).config["model"])
    return replace(base, **changes)


def sd15(path: Path, **changes: Any) -> SD15:
    """An SD 1.5 model with the values of conf/model/sd15.yaml and `changes`."""
    base: SD15 = build(compose(["model=sd15", f"model.path='{path}'"]).config["model"])
    return replace(base, **changes)


def load(path: Path, **changes: Any) -> Family:
    """An SDXL model on the CPU."""
    return sdxl(path, **changes).load(CPU)

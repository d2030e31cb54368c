"""Adapters on single layers for tests, moved away from where they start."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sweeplora.networks.blocks import Rank
from sweeplora.networks.network import adapter_of

Layer = nn.Linear | nn.Conv2d


def linear(inputs: int = 24, outputs: int = 40, bias: bool = True) -> nn.Linear:
    torch.manual_seed(7)
    return nn.Linear(inputs, outputs, bias).requires_grad_(False)


def conv(inputs: int = 8, outputs: int = 12, kernel: int = 3, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(8)
    made = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)
    return made.requires_grad_(False)


def adapter(algorithm: Any, layer: Layer, move: float = 0.1) -> Any:
    """The adapter of an algorithm on a layer, in evaluation, every parameter moved by normal numbers."""
    torch.manual_seed(0)
    dim, alpha = (algorithm.dim, getattr(algorithm, "alpha", 1.0)) if "dim" in vars(algorithm) else (1, 1.0)
    made = adapter_of(algorithm)(algorithm, "lora_unet_key", layer, Rank(dim, alpha))
    for parameter in made.module.parameters():
        parameter.data += move * torch.randn(parameter.shape)
    made.module.train(False)
    return made


def example(layer: Layer) -> torch.Tensor:
    """An input for a layer: three samples."""
    generator = torch.Generator().manual_seed(5)
    if isinstance(layer, nn.Conv2d):
        return torch.randn(3, layer.in_channels, 7, 6, generator=generator)
    return torch.randn(3, 5, layer.in_features, generator=generator)

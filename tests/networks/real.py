"""The layers of SDXL base 1.0 and of SD 1.5 in their true sizes, on torch's meta device: no memory, no weights."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from sweeplora.models import sd15, sdxl
from sweeplora.models.layout import Layout
from sweeplora.networks.keys import Shapes

LAYOUTS = {"sdxl": sdxl.LAYOUT, "sd15": sd15.LAYOUT}
_EXPECTED = Path(__file__).parents[1] / "expected"


class Real(NamedTuple):
    """Shapes of the U-Net's and of the encoders' layers, and the names of the U-Net's norms."""

    layout: Layout
    unet: Shapes
    encoders: tuple[Shapes, ...]
    norms: tuple[str, ...]


class Facts:
    """A real model's shapes, as its file's headers say them."""

    def __init__(self, family: str) -> None:
        self._model = real(family)
        self.layout = self._model.layout

    def unet_shapes(self) -> Shapes:
        """Layers and norms."""
        return {**self._model.unet, **dict.fromkeys(self._model.norms, (1,))}

    def encoder_shapes(self) -> list[Shapes]:
        """The layers of every encoder."""
        return list(self._model.encoders)


def expected(topic: str, family: str) -> dict[str, Any]:
    """What the reference gave; how it was made stands in the file."""
    found: dict[str, Any] = json.loads((_EXPECTED / f"{topic}.json").read_text())["families"][family]
    return found


def digest(lines: Iterable[str]) -> str:
    """The hash of a set of lines, whatever their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@functools.cache
def real(family: str) -> Real:
    """One of the two families in its true size."""
    with torch.device("meta"):
        unet = _unet(family)
        encoders = [_clip(CLIPTextModel, 12, 768)]
        if family == "sdxl":
            encoders.append(_clip(CLIPTextModelWithProjection, 32, 1280))
    norms = tuple(name for name, layer in unet.named_modules() if isinstance(layer, nn.GroupNorm | nn.LayerNorm))
    return Real(LAYOUTS[family], shapes(unet), tuple(shapes(encoder) for encoder in encoders), norms)


def shapes(model: nn.Module) -> Shapes:
    """Module name -> shape of the weight of every linear layer and convolution."""
    return {
        name: tuple(layer.weight.shape)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


def _unet(family: str) -> nn.Module:
    sdxl: dict[str, Any] = {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    model: nn.Module = UNet2DConditionModel(**(sdxl if family == "sdxl" else {"cross_attention_dim": 768}))
    return model


def _clip(kind: type[nn.Module], layers: int, width: int) -> nn.Module:
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=width // 64,
        num_hidden_layers=layers,
        vocab_size=9,
        projection_dim=width,
    )
    return kind(config)

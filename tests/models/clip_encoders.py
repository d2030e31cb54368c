"""CLIP text encoders of twelve layers at a width of 8, whose weights a formula gives: equal in every program."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

ModelT = TypeVar("ModelT", bound=nn.Module)


def first() -> CLIPTextModel:
    """SD 1.5's encoder and SDXL's first in small."""
    return _filled(CLIPTextModel(_config("quick_gelu")), 1)


def second() -> CLIPTextModelWithProjection:
    """SDXL's second encoder in small."""
    return _filled(CLIPTextModelWithProjection(_config("gelu")), 2)


def _config(activation: str) -> CLIPTextConfig:
    sizes = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "projection_dim": 6,
        "max_position_embeddings": 77,
    }
    ids = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1}
    layers = {"num_hidden_layers": 12, "num_attention_heads": 2, "hidden_act": activation}
    options: dict[str, Any] = {**sizes, **ids, **layers}
    return CLIPTextConfig(**options)


def _filled(model: ModelT, seed: int) -> ModelT:
    """Element i of tensor k in the order of names is sin(i (seed + k) 0.7390851), scaled by the tensor's kind."""
    parameters = {name.removeprefix("text_model."): value for name, value in model.named_parameters()}
    for number, (name, parameter) in enumerate(sorted(parameters.items())):
        places = torch.arange(1, parameter.numel() + 1, dtype=torch.float64)
        values = torch.sin(places * (seed + number) * 0.7390851).view(parameter.shape)
        if "layer_norm" in name and name.endswith("weight"):
            values = 1 + 0.3 * values
        elif "embedding" not in name:
            values = values * (0.6 if parameter.dim() > 1 else 0.1)
        parameter.data = values.float()
    return model.eval().requires_grad_(False)

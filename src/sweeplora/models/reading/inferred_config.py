"""Configs for a single-file model: the constants of its architecture plus widths and depths from tensor shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeplora.tensors.stored import Stored

Tensors = Mapping[str, Stored]
Heads = Callable[[int], int]
"""Channels -> attention heads, which cannot be inferred from tensor shapes."""

_CONFIGS = Path(__file__).resolve().parents[2] / "assets" / "configs"
_GROUPS = 32
_CLIP_HEAD = 64
_SIZE_IDS = 6


def config_file(family: str, part: str) -> Path:
    """The JSON file with the config values that all models of a family share."""
    return _CONFIGS / family / f"{part}.json"


def shared(family: str, part: str) -> dict[str, Any]:
    """The config values that all models of a family share."""
    content: dict[str, Any] = json.loads(config_file(family, part).read_text())
    return content


def unet_config(family: str, tensors: Tensors, heads: Heads, pooled: int) -> dict[str, Any]:
    """diffusers' config of a U-Net; `pooled`: width of the pooled text embedding.

    Raises KeyError if a tensor that it needs is missing.
    """
    config = shared(family, "unet")
    levels = range(len(config["down_block_types"]))
    widths = [tensors[f"down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in levels]
    depths = [_count(tensors, rf"down_blocks\.{level}\.attentions\.0\.transformer_blocks\.(\d+)\.") for level in levels]
    attentive = next(level for level in levels if depths[level])
    keys = tensors[f"down_blocks.{attentive}.attentions.0.transformer_blocks.0.attn2.to_k.weight"]
    config |= {
        "block_out_channels": widths,
        "transformer_layers_per_block": [max(1, depth) for depth in depths[:-1]] + [_last(tensors, depths)],
        "attention_head_dim": [heads(width) for width in widths],
        "cross_attention_dim": keys.shape[1],
        "norm_num_groups": min(_GROUPS, widths[0]),
    }
    if config.get("addition_embed_type") == "text_time":
        width = tensors["add_embedding.linear_1.weight"].shape[1]
        config["projection_class_embeddings_input_dim"] = width
        config["addition_time_embed_dim"] = (width - pooled) // _SIZE_IDS
    return config


def vae_config(family: str, tensors: Tensors) -> dict[str, Any]:
    """diffusers' config of a VAE. Raises KeyError if a tensor that it needs is missing."""
    levels = _count(tensors, r"encoder\.down_blocks\.(\d+)\.")
    widths = [tensors[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)]
    return {
        **shared(family, "vae"),
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": _count(tensors, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "latent_channels": tensors["decoder.conv_in.weight"].shape[1],
        "norm_num_groups": min(_GROUPS, widths[0]),
    }


def encoder_config(family: str, part: str, tensors: Tensors, prefix: str) -> dict[str, Any]:
    """transformers' config of a CLIP text encoder. Raises KeyError if a tensor that it needs is missing."""
    tokens, width = tensors[f"{prefix}embeddings.token_embedding.weight"].shape
    projection = tensors.get("text_projection.weight")
    return {
        **shared(family, part),
        "vocab_size": tokens,
        "hidden_size": width,
        "num_attention_heads": max(1, width // _CLIP_HEAD),
        "num_hidden_layers": _count(tensors, rf"{re.escape(prefix)}encoder\.layers\.(\d+)\."),
        "intermediate_size": tensors[f"{prefix}encoder.layers.0.mlp.fc1.weight"].shape[0],
        "max_position_embeddings": tensors[f"{prefix}embeddings.position_embedding.weight"].shape[0],
        "projection_dim": width if projection is None else projection.shape[0],
    }


def _last(tensors: Tensors, depths: list[int]) -> int:
    """Transformer depth of the last level and the middle block: the middle's if the last level has no attention."""
    middle = _count(tensors, r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\.")
    return max(1, depths[-1] or middle)


def _count(tensors: Tensors, pattern: str) -> int:
    """How many consecutive numbers, starting at 0, a pattern's group matches in the names."""
    return 1 + max((int(match[1]) for name in tensors if (match := re.match(pattern, name))), default=-1)

"""All tensor names of a network with a given config, to find missing tensors in a file before loading it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]

_NORM = ("weight", "bias")
_ATTENTION = ("attn1", "attn2")


def unet_names(config: Config) -> list[str]:
    """Every tensor of a U-Net: residual blocks, transformers at the levels that have them, and resampling."""
    widths, layers, depths = (
        config["block_out_channels"],
        config["layers_per_block"],
        config["transformer_layers_per_block"],
    )
    modules = ["conv_in", "time_embedding.linear_1", "time_embedding.linear_2", "conv_norm_out", "conv_out"]
    if config.get("addition_embed_type") == "text_time":
        modules += ["add_embedding.linear_1", "add_embedding.linear_2"]
    names = list(_both(modules))
    last = len(widths) - 1
    for level, kind in enumerate(config["down_block_types"]):
        ways = [widths[max(level - 1, 0)]] + [widths[level]] * (layers - 1)
        depth = depths[level] if kind.startswith("Cross") else 0
        names += _level(f"down_blocks.{level}", [way != widths[level] for way in ways], depth)
        names += _both([f"down_blocks.{level}.downsamplers.0.conv"] if level < last else [])
    names += _level("mid_block", [False, False], 0)
    names += _transformer("mid_block.attentions.0", depths[-1])
    for place, kind in enumerate(config["up_block_types"]):
        level = last - place
        depth = depths[level] if kind.startswith("Cross") else 0
        names += _level(f"up_blocks.{place}", [True] * (layers + 1), depth)
        names += _both([f"up_blocks.{place}.upsamplers.0.conv"] if place < last else [])
    return names


def vae_names(config: Config) -> list[str]:
    """Every tensor of an autoencoder with one attention in the middle of each half."""
    widths, layers = config["block_out_channels"], config["layers_per_block"]
    names = list(_both(["quant_conv", "post_quant_conv"]))
    last = len(widths) - 1
    for half, side, resampler, count in (
        ("encoder", "down_blocks", "downsamplers", layers),
        ("decoder", "up_blocks", "upsamplers", layers + 1),
    ):
        ordered: Sequence[int] = widths if half == "encoder" else widths[::-1]
        names += _both([f"{half}.conv_in", f"{half}.conv_norm_out", f"{half}.conv_out"])
        for level, width in enumerate(ordered):
            changes = [ordered[max(level - 1, 0)] != width] + [False] * (count - 1)
            names += _resnets(f"{half}.{side}.{level}", changes, timed=False)
            names += _both([f"{half}.{side}.{level}.{resampler}.0.conv"] if level < last else [])
        names += _resnets(f"{half}.mid_block", [False, False], timed=False)
        attention = f"{half}.mid_block.attentions.0"
        names += _both([f"{attention}.{name}" for name in ("group_norm", "to_q", "to_k", "to_v", "to_out.0")])
    return names


def encoder_names(config: Config, prefix: str, projects: bool) -> list[str]:
    """Every tensor of a CLIP text encoder; the module names start with `prefix`."""
    names = [f"{prefix}embeddings.{kind}_embedding.weight" for kind in ("token", "position")]
    inside = (
        *("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"),
        *(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")),
    )
    layers = range(config["num_hidden_layers"])
    names += _both([f"{prefix}encoder.layers.{layer}.{name}" for layer in layers for name in inside])
    names += _both([f"{prefix}final_layer_norm"])
    return [*names, "text_projection.weight"] if projects else names


def _level(block: str, shortcuts: Sequence[bool], depth: int) -> Iterator[str]:
    """The residual blocks of a level, each followed by a transformer if `depth` is not 0."""
    yield from _resnets(block, shortcuts, timed=True)
    if depth:
        for index in range(len(shortcuts)):
            yield from _transformer(f"{block}.attentions.{index}", depth)


def _resnets(block: str, shortcuts: Sequence[bool], *, timed: bool) -> Iterator[str]:
    for index, shortcut in enumerate(shortcuts):
        inside = ["norm1", "conv1", "norm2", "conv2"]
        inside += ["time_emb_proj"] if timed else []
        inside += ["conv_shortcut"] if shortcut else []
        yield from _both([f"{block}.resnets.{index}.{name}" for name in inside])


def _transformer(name: str, depth: int) -> Iterator[str]:
    yield from _both([f"{name}.{module}" for module in ("norm", "proj_in", "proj_out")])
    for index in range(depth):
        block = f"{name}.transformer_blocks.{index}"
        inside = ["norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2", *(f"{a}.to_out.0" for a in _ATTENTION)]
        yield from _both([f"{block}.{module}" for module in inside])
        yield from (f"{block}.{a}.to_{part}.weight" for a in _ATTENTION for part in "qkv")


def _both(modules: Sequence[str]) -> Iterator[str]:
    return (f"{module}.{kind}" for module in modules for kind in _NORM)

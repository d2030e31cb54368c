"""The names of a family's layers in files, and the block that each layer belongs to; strings only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """How a family's files name its layers.

    `encoder_prefixes`: the key prefix of each text encoder, in the order of the encoders. `unet_names`: all of
    a U-Net's diffusers module names -> the names of the same layers in files, with dots. `block_of`:
    diffusers' module name -> its block, 0 to `num_blocks` - 1, None for a layer outside the blocks; `blocks`
    describes them in words ("12 down, 1 middle, 12 up").
    `base_model_version` and `architecture` go into the metadata, as kohya's trainers and ModelSpec write them.
    """

    name: str
    encoder_prefixes: tuple[str, ...]
    unet_names: Callable[[Iterable[str]], dict[str, str]]
    num_blocks: int
    blocks: str
    block_of: Callable[[str], int | None]
    base_model_version: str
    architecture: str


_OUTER = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_PART = re.compile(r"(down_blocks|up_blocks|mid_block)(?:\.(\d+))?\.(\w+)\.(\d+)\.(.+)")
_LAYERS_PER_BLOCK = 2


def diffusers_names(names: Iterable[str]) -> dict[str, str]:
    """Every name unchanged: files for SD 1.5 use the diffusers names."""
    return {name: name for name in names}


def original_names(names: Iterable[str]) -> dict[str, str]:
    """diffusers' U-Net module names -> the names in SDXL's own checkpoint.

    `names` must hold all layers of the U-Net: the number of layers in a block and the presence of attention are
    read from them. Raises ValueError for a name outside the structure.
    """
    known = list(names)
    resnets = {int(m[1]) for name in known if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", name))}
    attentive = {int(m[1]) for name in known if (m := re.match(r"up_blocks\.(\d+)\.attentions\.", name))}
    return {name: _original(name, len(resnets), attentive) for name in known}


def sdxl_block(name: str) -> int | None:
    """One of SDXL's 23 blocks: 0 the embeddings, 1-9 down, 10-12 the middle, 13-21 up, 22 the output."""
    if name.startswith(("time_embedding.", "add_embedding.")):
        return 0
    if name.startswith(("conv_norm_out", "conv_out")):
        return 22
    if name == "conv_in":
        return 1
    match = _PART.match(name)
    if match is None:
        return None
    side, block, kind, index, _ = match.groups()
    if side == "mid_block":
        return 10 + (1 if kind == "attentions" else 2 * int(index))
    return _in_side(int(block), kind, int(index)) + (2 if side == "down_blocks" else 13)


def sd15_block(name: str) -> int | None:
    """One of SD 1.5's 25 blocks: 0-11 down, of which 0 is the first convolution, 12 the middle, 13-24 up.

    The time embedding and the output belong to no block.
    """
    if name == "conv_in":
        return 0
    match = _PART.match(name)
    if match is None:
        return None
    side, block, kind, index, _ = match.groups()
    if side == "mid_block":
        return 12
    return _in_side(int(block), kind, int(index)) + (1 if side == "down_blocks" else 13)


def _in_side(block: int, kind: str, index: int) -> int:
    """Position on the way down or up, three per block: on the way down two layers and the downsampling, on the way
    up three layers, of which the third shares its position with the upsampling."""
    return block * (_LAYERS_PER_BLOCK + 1) + (_LAYERS_PER_BLOCK if kind.endswith("samplers") else index)


def _original(name: str, layers: int, attentive: set[int]) -> str:
    if name in _OUTER:
        return _OUTER[name]
    match = _PART.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is no layer of an SDXL U-Net")
    side, block, kind, index, rest = match.groups()
    return f"{_place(side, int(block or 0), (kind, int(index)), layers, attentive)}.{_inside(kind, rest)}"


def _place(side: str, block: int, part: tuple[str, int], layers: int, attentive: set[int]) -> str:
    """Position of a part in the flat list of blocks: input_blocks.N.M, middle_block.N, output_blocks.N.M.

    Every resnet starts a new block, followed by its attention. On the way down the resampling is a separate block;
    on the way up it ends the last resnet's block.
    """
    kind, index = part
    if side == "mid_block":
        return f"middle_block.{1 if kind == 'attentions' else 2 * index}"
    if side == "down_blocks":
        first = 1 + block * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0"
        return f"input_blocks.{first + index}.{int(kind == 'attentions')}"
    first = block * (layers + 1)
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.{1 + int(block in attentive)}"
    return f"output_blocks.{first + index}.{int(kind == 'attentions')}"


def _inside(kind: str, rest: str) -> str:
    if kind == "resnets":
        return _RESNET[rest]
    if kind == "downsamplers":
        return "op"
    return rest

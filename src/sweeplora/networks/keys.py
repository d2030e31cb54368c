"""Which layers a preset selects, and the names they carry in a file: strings and shapes only, no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sweeplora.models.folder import ModelFacts

Shapes = Mapping[str, tuple[int, ...]]
"""diffusers' or transformers' module name -> shape of its weight: (out, in) or (out, in, kernel, kernel)."""

ENCODER_PREFIXES = ("lora_te1", "lora_te2")

_UNET_LAYERS = {
    "full": re.compile(""),
    "unet-only": re.compile(""),
    "attn-mlp": re.compile(r"\.attentions\.\d+\."),
    "attn-only": re.compile(r"\.attn[12]\."),
}
_ENCODER_LAYERS = {
    "full": re.compile(r"\.layers\.\d+\.(self_attn|mlp)\."),
    "attn-mlp": re.compile(r"\.layers\.\d+\.(self_attn|mlp)\."),
    "attn-only": re.compile(r"\.layers\.\d+\.self_attn\."),
    "unet-only": re.compile(r"(?!)"),
}

_OUTER = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(r"(down_blocks|up_blocks|mid_block)(?:\.(\d+))?\.(\w+)\.(\d+)\.(.+)")


def unet_layers(shapes: Shapes, preset: str) -> dict[str, str]:
    """The U-Net's layers that a preset selects: module name -> key in a file.

    full and unet-only: every linear layer and convolution. attn-mlp: all of the transformers. attn-only: the
    attention's projections. Keys carry SDXL's original names (`lora_unet_input_blocks_4_1_...`), since one
    popular web UI drops a layer of files named as diffusers does.
    """
    originals = original_names(shapes)
    pattern = _UNET_LAYERS[preset]
    return {name: f"lora_unet_{originals[name]}".replace(".", "_") for name in shapes if pattern.search(f".{name}")}


def encoder_layers(shapes: Shapes, preset: str, prefix: str) -> dict[str, str]:
    """A text encoder's layers that a preset selects: module name -> key; embeddings and projection never.

    transformers has dropped `text_model` from the first encoder's module names; in files both have it.
    """
    pattern = _ENCODER_LAYERS[preset]
    return {
        name: f"{prefix}_text_model.{name.removeprefix('text_model.')}".replace(".", "_")
        for name in shapes
        if pattern.search(f".{name}")
    }


def count_selected(facts: ModelFacts, preset: str, text_encoders: bool) -> int:
    """How many layers a preset selects in the model of a folder, from the headers of its weights."""
    count = len(unet_layers(facts.unet.shapes(), preset))
    if text_encoders:
        pairs = zip(facts.text_encoders, ENCODER_PREFIXES, strict=True)
        count += sum(len(encoder_layers(part.shapes(), preset, prefix)) for part, prefix in pairs)
    return count


def original_names(names: Iterable[str]) -> dict[str, str]:
    """diffusers' U-Net module names -> the names in SDXL's own checkpoint.

    `names` must hold all layers of the U-Net: how many a block has, and whether it has attention, is read
    from them. Raises ValueError for a name outside the structure.
    """
    known = list(names)
    resnets = {int(m[1]) for name in known if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", name))}
    attentive = {int(m[1]) for name in known if (m := re.match(r"up_blocks\.(\d+)\.attentions\.", name))}
    return {name: _original(name, len(resnets), attentive) for name in known}


def _original(name: str, layers: int, attentive: set[int]) -> str:
    if name in _OUTER:
        return _OUTER[name]
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is no layer of an SDXL U-Net")
    side, block, kind, index, rest = match.groups()
    return f"{_place(side, int(block or 0), (kind, int(index)), layers, attentive)}.{_inside(kind, side, rest)}"


def _place(side: str, block: int, part: tuple[str, int], layers: int, attentive: set[int]) -> str:
    """Position of a part in the flat list of blocks: input_blocks.N.M, middle_block.N, output_blocks.N.M.

    Every resnet opens a block and its attention follows it; on the way down the resampling is a block of its
    own, on the way up it ends the block of the last resnet.
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


def _inside(kind: str, side: str, rest: str) -> str:
    if kind == "resnets":
        return _RESNET[rest]
    if kind == "downsamplers":
        return "op"
    return rest

"""The layers that a preset selects, and their names in a file: strings and shapes only, no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sweeplora.models.layout import Layout
from sweeplora.networks.blocks import Rank, encoder_rank, ranks_in, ranks_of

Shapes = Mapping[str, tuple[int, ...]]
"""diffusers' or transformers' module name -> shape of its weight: (out, in) or (out, in, kernel, kernel)."""


class Shaped(Protocol):
    """The part of a model's facts that is used here."""

    @property
    def layout(self) -> Layout: ...
    def unet_shapes(self) -> Shapes: ...
    def encoder_shapes(self) -> Sequence[Shapes]: ...


@dataclass(frozen=True)
class Preset:
    """A selection: patterns over module names with a leading dot, and whether to include kernels above 1x1.

    `norms`: the U-Net's norms that train with `train_norm`. LyCORIS selects those inside the selected parts, and
    none in a text encoder.
    """

    unet: re.Pattern[str]
    encoder: re.Pattern[str]
    norms: re.Pattern[str]
    kernels: bool = True


_ALL = re.compile("")
_NONE = re.compile(r"(?!)")
_BLOCKS = re.compile(r"\.(resnets|attentions|downsamplers|upsamplers)\.\d+\.")
_TRANSFORMERS = re.compile(r"\.attentions\.\d+\.")
_RESIDUAL = re.compile(r"\.(resnets|downsamplers|upsamplers)\.\d+\.|\.conv_(in|out)$")
_ATTENTION = re.compile(r"\.attn[12]\.")
_ENCODER = re.compile(r"\.layers\.\d+\.(self_attn|mlp)\.")
_ENCODER_ATTENTION = re.compile(r"\.layers\.\d+\.self_attn\.")

PRESETS = {
    "full": Preset(_ALL, _ENCODER, _BLOCKS),
    "full-lin": Preset(_ALL, _ENCODER, _BLOCKS, kernels=False),
    "blocks": Preset(_BLOCKS, _ENCODER, _BLOCKS),
    "attn-mlp": Preset(_TRANSFORMERS, _ENCODER, _TRANSFORMERS),
    "attn-only": Preset(_ATTENTION, _ENCODER_ATTENTION, _NONE),
    "unet-only": Preset(_ALL, _NONE, _BLOCKS),
    "unet-transformer-only": Preset(_TRANSFORMERS, _NONE, _TRANSFORMERS),
    "unet-convblock-only": Preset(_RESIDUAL, _NONE, _RESIDUAL),
}
"""full: every linear layer and convolution of the U-Net, attention and MLP of the text encoders. full-lin: full
without kernels above 1x1. blocks: full without the layers outside the U-Net's blocks (embeddings, first and last
convolution), as in sd-scripts' networks.lora with a conv_dim. attn-mlp: all transformer layers. attn-only: the
attention projections. unet-only: full without text encoders. unet-transformer-only: attn-mlp without text
encoders. unet-convblock-only: residual blocks, resampling, first and last convolution."""


def unet_layers(shapes: Shapes, preset: str, layout: Layout) -> dict[str, str]:
    """The U-Net's layers that a preset selects: module name -> key in a file.

    `shapes` must hold every linear layer and convolution of the U-Net; norms among them are ignored. SDXL's keys
    use its original names (`lora_unet_input_blocks_4_1_...`), since one popular web UI drops a layer from files
    with diffusers' names; SD 1.5's keys use diffusers' names, as in sd-scripts.
    """
    chosen, names = PRESETS[preset], layout.unet_names(shapes)
    return {
        name: unet_key(names[name])
        for name, shape in shapes.items()
        if len(shape) > 1
        and chosen.unet.search(f".{name}")
        and (chosen.kernels or not any(side > 1 for side in shape[2:]))
    }


def norm_layers(names: Iterable[str], preset: str, layout: Layout) -> dict[str, str]:
    """The U-Net's norms that train with a preset and `train_norm`: module name -> key, as LyCORIS writes them.

    `names` must hold every norm of the U-Net. LyCORIS selects no norms in text encoders.
    """
    known, pattern = list(names), PRESETS[preset].norms
    originals = layout.unet_names(known)
    return {name: unet_key(originals[name]) for name in known if pattern.search(f".{name}")}


def unet_key(name: str) -> str:
    """A U-Net layer's key in a file, from its dotted name."""
    return f"lora_unet_{name}".replace(".", "_")


def encoder_layers(shapes: Iterable[str], preset: str, prefix: str) -> dict[str, str]:
    """A text encoder's layers that a preset selects: module name -> key; never the embeddings or the projection.

    transformers has dropped `text_model` from the names of an encoder without a projection; files keep it.
    """
    pattern = PRESETS[preset].encoder
    return {
        name: f"{prefix}_text_model.{name.removeprefix('text_model.')}".replace(".", "_")
        for name in shapes
        if pattern.search(f".{name}")
    }


class Selected(NamedTuple):
    """A trained layer: its weight's shape, and its adapter's rank if the algorithm has ranks."""

    shape: tuple[int, ...]
    rank: Rank | None


def selected(facts: Shaped, network: Mapping[str, Any]) -> dict[str, Selected]:
    """All layers that the config's network group selects in a model, by their keys; skips blocks of rank 0."""
    found: dict[str, Selected] = {}
    preset, layout, ranks = network["preset"], facts.layout, ranks_in(network)
    if network["unet"]:
        shapes = facts.unet_shapes()
        for name, key in unet_layers(shapes, preset, layout).items():
            rank = ranks_of(ranks, layout, name, shapes[name]) if ranks else None
            if rank or not ranks:
                found[key] = Selected(shapes[name], rank)
    if network["text_encoders"]:
        rank = encoder_rank(ranks) if ranks else None
        for encoder, prefix in zip(facts.encoder_shapes(), layout.encoder_prefixes, strict=True):
            layers = encoder_layers(encoder, preset, prefix).items()
            found |= {key: Selected(encoder[name], rank) for name, key in layers}
    return found

"""Maps the tensor names of single-file checkpoints (CompVis, Stability AI, OpenCLIP) to module names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sweeplora.tensors.stored import Stored

Tensors = Mapping[str, Stored]

_UNET_OUTER = {
    "input_blocks.0.0": "conv_in",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_UNET_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_PLACE = re.compile(r"(input|output)_blocks\.(\d+)\.\d\.(.+)")
_UNET_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_LAYERS = 2
"""Residual blocks per level on the way down, in both families; one more on the way up."""

_VAE_PLACE = re.compile(r"(encoder\.down|decoder\.up)\.(\d+)\.(block\.\d+|downsample|upsample)\.(.+)")
_VAE_MIDDLE = {"block_1": "resnets.0", "block_2": "resnets.1", "attn_1": "attentions.0"}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_VAE_FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

_OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OPEN_CLIP_OUTER = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}


def unet(tensors: Tensors) -> dict[str, Stored]:
    """A U-Net's tensors by diffusers' names, from names without `model.diffusion_model.`."""
    return {_unet_name(name): stored for name, stored in tensors.items()}


def vae(tensors: Tensors) -> dict[str, Stored]:
    """A VAE's tensors by diffusers' names, from original names without `first_stage_model.` or diffusers' own.

    The attention projections are 1x1 convolutions in the original layout and linear layers in diffusers.
    """
    levels = 1 + max(
        (int(m[2]) for name in tensors if (m := _VAE_PLACE.match(name)) and m[1] == "decoder.up"), default=0
    )
    found = {}
    for original, stored in tensors.items():
        name = _vae_name(original, levels)
        linear = ".attentions." in name and len(stored.shape) == 4
        found[name] = stored.without_kernel() if linear else stored
    return found


def clip(tensors: Tensors, prefix: str) -> dict[str, Stored]:
    """CLIP's tensors by `prefix` plus transformers' names, from the names of current and older versions."""
    return {
        name if name.startswith("text_projection.") else prefix + name.removeprefix("text_model."): stored
        for name, stored in tensors.items()
    }


def open_clip(tensors: Tensors, prefix: str) -> dict[str, Stored]:
    """OpenCLIP's tensors by transformers' names: fused projections split, the last projection transposed."""
    found = {}
    for name, stored in tensors.items():
        if name in _OPEN_CLIP_OUTER:
            found[prefix + _OPEN_CLIP_OUTER[name]] = stored
        elif name == "text_projection":
            found["text_projection.weight"] = stored.transposed()
        elif name == "text_projection.weight":
            found[name] = stored
        elif match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)\.?(weight|bias)", name):
            layer, inside, kind = f"{prefix}encoder.layers.{match[1]}", match[2].rstrip("."), match[3]
            if inside == "attn.in_proj_":
                parts = (f"{layer}.self_attn.{part}_proj.{kind}" for part in "qkv")
                found |= {part: stored.third(index) for index, part in enumerate(parts)}
            else:
                found[f"{layer}.{_OPEN_CLIP_LAYER.get(inside, inside)}.{kind}"] = stored
    return found


def _unet_name(name: str) -> str:
    module, _, kind = name.rpartition(".")
    if module in _UNET_OUTER:
        return f"{_UNET_OUTER[module]}.{kind}"
    if match := re.fullmatch(r"middle_block\.(\d)\.(.+)", module):
        return f"mid_block.{_UNET_MIDDLE.get(match[1], match[1])}.{_UNET_RESNET.get(match[2], match[2])}.{kind}"
    match = _UNET_PLACE.fullmatch(module)
    if match is None:
        return name
    side, number, inside = match.groups()
    level, index = divmod(int(number) - 1 if side == "input" else int(number), _LAYERS + 1)
    block = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
    if inside == "op":
        return f"{block}.downsamplers.0.conv.{kind}"
    if inside == "conv":
        return f"{block}.upsamplers.0.conv.{kind}"
    if inside in _UNET_RESNET:
        return f"{block}.resnets.{index}.{_UNET_RESNET[inside]}.{kind}"
    return f"{block}.attentions.{index}.{inside}.{kind}"


def _vae_name(name: str, levels: int) -> str:
    if match := _VAE_PLACE.fullmatch(name):
        side, level, place, inside = match.groups()
        block = (
            f"encoder.down_blocks.{level}" if side == "encoder.down" else f"decoder.up_blocks.{levels - 1 - int(level)}"
        )
        if place.endswith("sample"):
            return f"{block}.{place}rs.0.{inside}"
        return f"{block}.resnets.{place.removeprefix('block.')}.{inside.replace('nin_shortcut', 'conv_shortcut')}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid\.(\w+)\.(\w+)\.(\w+)", name):
        side, place, inside, kind = match.groups()
        inside = _VAE_ATTENTION.get(inside, inside) if place == "attn_1" else inside
        return f"{side}.mid_block.{_VAE_MIDDLE.get(place, place)}.{inside}.{kind}"
    if match := re.fullmatch(r"(.+\.attentions\.0)\.(\w+)\.(\w+)", name):
        return f"{match[1]}.{_VAE_FORMER.get(match[2], match[2])}.{match[3]}"
    return re.sub(r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out.", name)

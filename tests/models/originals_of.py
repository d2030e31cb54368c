"""Writes a diffusers folder as the one file that its family's authors publish: the opposite of what is tested."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sweeplora.models.layout import original_names

Tensors = dict[str, Tensor]

_VAE = (
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r".down.\1.block.\2."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
)
_OPEN_CLIP = (
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
)


def tensors_of(folder: Path) -> Tensors:
    """All tensors of an SDXL or SD 1.5 folder by their names in the original layout."""
    is_xl = (folder / "text_encoder_2").is_dir()
    first = "conditioner.embedders.0.transformer." if is_xl else "cond_stage_model.transformer."
    found = {f"model.diffusion_model.{k}": v for k, v in unet(load(folder / "unet")).items()}
    found |= {f"first_stage_model.{k}": v for k, v in vae(load(folder / "vae")).items()}
    found |= {f"{first}text_model.{k.removeprefix('text_model.')}": v for k, v in load(folder / "text_encoder").items()}
    found[f"{first}text_model.embeddings.position_ids"] = torch.arange(77)[None]
    if is_xl:
        second = open_clip(load(folder / "text_encoder_2"))
        found |= {f"conditioner.embedders.1.model.{k}": v for k, v in second.items()}
    found["model_ema.decay"] = torch.tensor(0.9999)
    found["model_ema.diffusion_modeltime_embed0weight"] = torch.zeros(3)
    return {name: tensor.contiguous() for name, tensor in found.items()}


def load(part: Path) -> Tensors:
    """The tensors of one part of a folder."""
    return dict(load_file(next(part.glob("*.safetensors"))))


def write(folder: Path, file: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a folder as one `.safetensors`, or as a `.ckpt` like those that a training left."""
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors_of(folder).items()}
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save({"epoch": 3, "global_step": 10, "state_dict": tensors}, file)
    return file


def unet(tensors: Tensors) -> Tensors:
    """A U-Net's tensors by the original names."""
    names = original_names({name.rpartition(".")[0] for name in tensors})
    return {f"{names[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in tensors.items()}


def vae(tensors: Tensors) -> Tensors:
    """A VAE's tensors by the original names, its attention as 1x1 convolutions."""
    last = max(int(m[1]) for k in tensors if (m := re.match(r"decoder\.up_blocks\.(\d+)", k)))
    found = {}
    for name, tensor in tensors.items():
        made = re.sub(r"\.up_blocks\.(\d+)", lambda m: f".up.{last - int(m[1])}", name)
        made = re.sub(r"(\.up\.\d+)\.resnets\.", r"\1.block.", made).replace(".upsamplers.0.", ".upsample.")
        for pattern, replacement in _VAE:
            made = re.sub(pattern, replacement, made)
        kernel = re.search(r"\.attn_1\.(q|k|v|proj_out)\.weight", made)
        found[made] = tensor[:, :, None, None] if kernel else tensor
    return found


def open_clip(tensors: Tensors) -> Tensors:
    """The second text encoder's tensors as OpenCLIP has them: projections fused, the last one transposed."""
    tensors = dict(tensors)
    found: Tensors = {"text_projection": tensors.pop("text_projection.weight").T, "logit_scale": torch.tensor(4.6)}
    for name in [name for name in tensors if ".self_attn.q_proj." in name]:
        parts = [tensors.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        made = re.sub(
            r"text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.", r"transformer.resblocks.\1.attn.in_proj_", name
        )
        found[made] = torch.cat(parts)
    for name, tensor in tensors.items():
        made = name
        for pattern, replacement in _OPEN_CLIP:
            made = re.sub(pattern, replacement, made)
        found[made] = tensor
    return found

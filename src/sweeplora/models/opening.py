"""Networks built on the meta device and filled from their files, tensor by tensor, on their final device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from sweeplora.errors import UserError
from sweeplora.models.facts import Part
from sweeplora.tensors.reading import read_tensors

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def build_unet(part: Part) -> UNet2DConditionModel:
    """The U-Net of a part on the meta device; raises UserError for tensors that are missing or of another shape."""
    with init_empty_weights(include_buffers=False):
        unet: UNet2DConditionModel = UNet2DConditionModel.from_config(dict(part.config))
    return _fitting(unet, part)


def build_vae(part: Part) -> AutoencoderKL:
    """The VAE of a part on the meta device; raises UserError for tensors that are missing or of another shape."""
    with init_empty_weights(include_buffers=False):
        vae: AutoencoderKL = AutoencoderKL.from_config(dict(part.config))
    return _fitting(vae, part)


def build_encoder(part: Part, projects: bool) -> CLIPTextModel | CLIPTextModelWithProjection:
    """The text encoder of a part on the meta device; `projects`: with its projection of the end token.

    Raises UserError for tensors that are missing or of another shape.
    """
    config = CLIPTextConfig(**_without_dtype(part.config))
    with init_empty_weights(include_buffers=False):
        encoder = CLIPTextModelWithProjection(config) if projects else CLIPTextModel(config)
    return _fitting(encoder, part)


def fill(part: Part, module: ModuleT, device: torch.device, precision: torch.dtype) -> ModuleT:
    """Fill a module on the meta device with the tensors of its part, frozen and in evaluation mode."""
    places = {name: part.tensors[name] for name in module.state_dict()}
    module.load_state_dict(dict(read_tensors(places, device, precision)), assign=True)
    module.to(device)  # buffers that no file holds
    return module.requires_grad_(False).eval()


def _fitting(module: ModuleT, part: Part) -> ModuleT:
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in part.tensors]
    if missing:
        mend = f"lacks {len(missing)} of {len(wanted)} tensors, first {missing[0]}; get the whole model"
        raise UserError(part.key, part.path, mend)
    for name, tensor in wanted.items():
        found = part.tensors[name].shape
        if found != tuple(tensor.shape):
            mend = f"{name} is {list(found)}, its config says {list(tensor.shape)}; get the whole model"
            raise UserError(part.key, part.path, mend)
    return module


def _without_dtype(config: Mapping[str, Any]) -> dict[str, Any]:
    """A text encoder's config without the precision of its file."""
    return {name: value for name, value in config.items() if name not in _PRECISION_KEYS}


_PRECISION_KEYS: Iterable[str] = ("dtype", "torch_dtype")

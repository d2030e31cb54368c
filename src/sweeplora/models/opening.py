"""Networks built without memory and filled from their files, tensor by tensor, where they will stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from sweeplora.errors import UserError
from sweeplora.models.facts import Part
from sweeplora.models.stored import Stored, UnreadableFile

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}


def open_unet(part: Part, device: torch.device, precision: torch.dtype) -> UNet2DConditionModel:
    """The U-Net of a part, in `precision` on `device`."""
    with init_empty_weights(include_buffers=False):
        unet: UNet2DConditionModel = UNet2DConditionModel.from_config(dict(part.config))
    return fill(unet, part, device, precision)


def open_vae(part: Part, device: torch.device) -> AutoencoderKL:
    """The VAE of a part, in float32 on `device`."""
    with init_empty_weights(include_buffers=False):
        vae: AutoencoderKL = AutoencoderKL.from_config(dict(part.config))
    return fill(vae, part, device)


def open_encoder(part: Part, projects: bool, device: torch.device) -> CLIPTextModel | CLIPTextModelWithProjection:
    """The text encoder of a part, in float32 on `device`; `projects`: with its projection of the end token."""
    config = CLIPTextConfig(**_without_dtype(part.config))
    with init_empty_weights(include_buffers=False):
        encoder = CLIPTextModelWithProjection(config) if projects else CLIPTextModel(config)
    return fill(encoder, part, device)


def fill(module: ModuleT, part: Part, device: torch.device, precision: torch.dtype = torch.float32) -> ModuleT:
    """Give a module without memory the tensors of its part, frozen and in evaluation mode.

    Raises UserError for tensors that the part lacks or holds in another shape.
    """
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
    places = {name: part.tensors[name] for name in wanted}
    module.load_state_dict(dict(read_tensors(places, device, precision)), assign=True)
    module.to(device)  # buffers that no file holds
    return module.requires_grad_(False).eval()


def read_tensors(
    places: Mapping[str, Stored], device: torch.device, precision: torch.dtype = torch.float32
) -> Iterator[tuple[str, Tensor]]:
    """Read tensors in the order in which they lie, one at a time; floating point becomes `precision` on `device`."""
    ordered = sorted(places.items(), key=lambda item: (item[1].file, item[1].offset))
    for file, items in groupby(ordered, key=lambda item: item[1].file):
        with file.open("rb") as stream:
            for name, stored in items:
                stream.seek(stored.offset)
                yield name, _placed(_tensor(stored, stream.readinto), device, precision)


def _tensor(stored: Stored, read_into: Any) -> Tensor:
    data = torch.empty(stored.extent, dtype=torch.uint8)
    if read_into(data.numpy()) != stored.extent:
        raise UnreadableFile(f"{stored.file} was cut short while it was read")
    return data.view(_DTYPES[stored.dtype]).as_strided(stored.shape, stored.stride)


def _placed(tensor: Tensor, device: torch.device, precision: torch.dtype) -> Tensor:
    """Whole numbers keep their type."""
    return tensor.to(device, precision if tensor.is_floating_point() else tensor.dtype).contiguous()


def _without_dtype(config: Mapping[str, Any]) -> dict[str, Any]:
    """A text encoder's config without the precision of its file."""
    return {name: value for name, value in config.items() if name not in _PRECISION_KEYS}


_PRECISION_KEYS: Iterable[str] = ("dtype", "torch_dtype")

"""Write an SDXL checkpoint of real size, made of random numbers: one fp16 file of 6.94 GB in the original layout.

    python tools/big_sdxl.py FILE.safetensors
    python tools/big_sdxl.py FILE.safetensors --widths 64 128 256 --layers 1 1 1 --encoder-layers 2 2

It trains as the real one does, in time and in memory, and learns nothing. `--widths` and `--layers` (transformer
layers a level) make a smaller one; the text encoders keep SDXL's widths. Written tensor by tensor.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from sweeplora.models.reading.inferred_config import shared
from sweeplora.tensors.safetensors_header import with_metadata

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.models import originals_of

_KINDS = {torch.float16: "F16", torch.int64: "I64"}
_BLOCK = 1 << 22
"""Random numbers that are drawn; tensors are cut from them, each at a place of its own."""


def main() -> None:
    arguments = parse()
    with init_empty_weights():
        tensors = {**unet(arguments.widths, arguments.layers), **vae(), **encoders(arguments.encoder_layers)}
    write(arguments.file, tensors)
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e9:.2f} GB")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--widths", type=int, nargs=3, default=[320, 640, 1280])
    parser.add_argument("--layers", type=int, nargs=3, default=[1, 2, 10])
    parser.add_argument("--encoder-layers", type=int, nargs=2, default=[12, 32])
    return parser.parse_args()


def unet(widths: list[int], layers: list[int]) -> dict[str, Tensor]:
    """The U-Net's tensors by their names in the file, on the meta device."""
    config = {
        **shared("sdxl", "unet"),
        "block_out_channels": widths,
        "transformer_layers_per_block": layers,
        "attention_head_dim": [width // 64 for width in widths],
        "cross_attention_dim": 2048,
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 1280 + 6 * 256,
    }
    named = originals_of.unet(UNet2DConditionModel.from_config(config).state_dict())
    return {f"model.diffusion_model.{name}": tensor for name, tensor in named.items()}


def vae() -> dict[str, Tensor]:
    """The VAE's tensors by their names in the file."""
    widths = [128, 256, 512, 512]
    config = {
        **shared("sdxl", "vae"),
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    named = originals_of.vae(AutoencoderKL.from_config(config).state_dict())
    return {f"first_stage_model.{name}": tensor for name, tensor in named.items()}


def encoders(layers: list[int]) -> dict[str, Tensor]:
    """Both text encoders' tensors by their names in the file."""
    first: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    second: dict[str, Any] = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20}
    one = CLIPTextModel(CLIPTextConfig(vocab_size=49408, num_hidden_layers=layers[0], **first))
    other = CLIPTextModelWithProjection(
        CLIPTextConfig(vocab_size=49408, num_hidden_layers=layers[1], projection_dim=1280, **second)
    )
    prefix = "conditioner.embedders.0.transformer.text_model."
    named = {f"{prefix}{name.removeprefix('text_model.')}": tensor for name, tensor in one.state_dict().items()}
    opened = originals_of.open_clip(other.state_dict())
    return named | {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in opened.items()}


def write(file: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors of these names and shapes in fp16."""
    header, place = {}, 0
    for name, tensor in tensors.items():
        size = 2 * tensor.numel()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [place, place + size]}
        place += size
    block = np.random.default_rng(0).standard_normal(_BLOCK, dtype=np.float32)
    with file.open("wb") as stream:
        stream.write(with_metadata(header, {}))
        for number, (name, tensor) in enumerate(tensors.items()):
            stream.write(numbers(name, tuple(tensor.shape), np.roll(block, -7919 * number)).tobytes())


def numbers(name: str, shape: tuple[int, ...], block: np.ndarray) -> np.ndarray:
    """fp16 numbers that keep the size of what passes through: norms of 1, no biases, weights by the inputs' number."""
    count = int(np.prod(shape))
    if len(shape) < 2:
        return np.full(count, 0.0 if name.endswith("bias") else 1.0, dtype=np.float16)
    inputs = count // shape[0]
    scaled = (block * (0.02 if "embedding" in name else inputs**-0.5)).astype(np.float16)
    return np.resize(scaled, count)


if __name__ == "__main__":
    main()

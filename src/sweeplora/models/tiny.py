"""A complete SDXL folder with small random weights, made in about a second: the model that tests run on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from sweeplora.randomness import seed_of

TOKEN_LIMIT = 77
WIDTHS = (32, 64, 64)
TEXT_WIDTHS = (32, 48)
POOLED = 24
SIZE_ID_WIDTH = 8
VAE_WIDTHS = (8, 16, 16)
LATENT_SIDE = 16

SCHEDULER: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "interpolation_type": "linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "use_karras_sigmas": False,
}

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": True,
    "add_watermarker": None,
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def build(folder: Path, seed: int = 0) -> Path:
    """Write the folder and return its path; what stands there is replaced only where it is empty.

    64 x 64 pixels, 4 pixels a latent, three U-Net levels of which the first has no attention, two layers
    a block: the structure by which loaders take a model for SDXL. Weights are float32 and follow from `seed`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".tiny-") as work, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "tiny"))
        half_made = Path(work) / "model"
        _unet().save_pretrained(half_made / "unet")
        _vae().save_pretrained(half_made / "vae")
        _save_text(half_made)
        _write(half_made / "scheduler" / "scheduler_config.json", SCHEDULER)
        _write(half_made / "model_index.json", INDEX)
        half_made.rename(folder)
    return folder


def _unet() -> UNet2DConditionModel:
    unet: UNet2DConditionModel = UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 4, 4),
        norm_num_groups=8,
        cross_attention_dim=sum(TEXT_WIDTHS),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_ID_WIDTH,
        projection_class_embeddings_input_dim=POOLED + 6 * SIZE_ID_WIDTH,
    )
    return unet


def _vae() -> AutoencoderKL:
    """An autoencoder whose scaling factor is 1 / std of its own latents, measured on smooth random images."""
    vae: AutoencoderKL = AutoencoderKL(
        sample_size=64,
        block_out_channels=VAE_WIDTHS,
        down_block_types=("DownEncoderBlock2D",) * len(VAE_WIDTHS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_WIDTHS),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        force_upcast=False,
        mid_block_add_attention=False,
    )
    coarse = torch.rand(8, 3, 8, 8) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")
    with torch.no_grad():
        latents = vae.encode(images).latent_dist.mode()
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def _save_text(folder: Path) -> None:
    vocabulary = _vocabulary()
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    for suffix, width, kind, pad in zip(("", "_2"), TEXT_WIDTHS, kinds, ("<|endoftext|>", "!"), strict=True):
        tokenizer = CLIPTokenizer(vocabulary, [], pad_token=pad, model_max_length=TOKEN_LIMIT)
        tokenizer.save_pretrained(folder / f"tokenizer{suffix}")
        config = CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=POOLED,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKEN_LIMIT,
            bos_token_id=vocabulary["<|startoftext|>"],
            eos_token_id=vocabulary["<|endoftext|>"],
            pad_token_id=vocabulary[pad],
        )
        kind(config).save_pretrained(folder / f"text_encoder{suffix}")


def _vocabulary() -> dict[str, int]:
    """CLIP's vocabulary without its merges: every byte, every byte that ends a word, start and end."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))

"""Builds a complete SDXL or SD 1.5 folder with small random weights in about a second, for tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from sweeplora.models.text.vocabulary import byte_pairs
from sweeplora.randomness import seed_of

TOKEN_LIMIT = 77
TEXT_WIDTHS = (32, 48)
POOLED = 24
SIZE_ID_WIDTH = 8
VAE_WIDTHS = (8, 16, 16)
LATENT_SIDE = 16

UNETS: dict[str, dict[str, Any]] = {
    "sdxl": {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (1, 1, 1),
        "cross_attention_dim": sum(TEXT_WIDTHS),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": SIZE_ID_WIDTH,
        "projection_class_embeddings_input_dim": POOLED + 6 * SIZE_ID_WIDTH,
    },
    "sd15": {
        "block_out_channels": (32, 64, 64, 64),
        "attention_head_dim": 8,
        "cross_attention_dim": TEXT_WIDTHS[0],
    },
}

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

_SHARED: dict[str, Any] = {
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
INDEXES: dict[str, dict[str, Any]] = {
    "sdxl": {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": True,
        "add_watermarker": None,
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        **_SHARED,
    },
    "sd15": {
        "_class_name": "StableDiffusionPipeline",
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        **_SHARED,
    },
}


def build(folder: Path, kind: Literal["sdxl", "sd15"] = "sdxl", *, clip: bool = False, seed: int = 0) -> Path:
    """Write the folder and return its path; an existing folder is replaced only if it is empty.

    64 x 64 pixels, 4 pixels per latent, and the family's levels, layers and attention, by which loaders recognise
    it. Heads and groups match those inferred for a single file of these widths. `clip`: CLIP's whole vocabulary,
    which a single file needs, instead of the bytes alone. Weights are float32 and determined by `seed`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".tiny-") as work, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "tiny"))
        half_made = Path(work) / "model"
        unet: UNet2DConditionModel = UNet2DConditionModel(sample_size=LATENT_SIDE, layers_per_block=2, **UNETS[kind])
        unet.save_pretrained(half_made / "unet")
        _vae().save_pretrained(half_made / "vae")
        _save_text(half_made, 2 if kind == "sdxl" else 1, clip)
        _write(half_made / "scheduler" / "scheduler_config.json", SCHEDULER)
        _write(half_made / "model_index.json", INDEXES[kind])
        half_made.rename(folder)
    return folder


def _vae() -> AutoencoderKL:
    """An autoencoder whose scaling factor is 1 / std of its own latents, measured on smooth random images."""
    vae: AutoencoderKL = AutoencoderKL(
        sample_size=64,
        block_out_channels=VAE_WIDTHS,
        down_block_types=("DownEncoderBlock2D",) * len(VAE_WIDTHS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_WIDTHS),
        layers_per_block=1,
        norm_num_groups=VAE_WIDTHS[0],
        latent_channels=4,
        force_upcast=False,
    )
    coarse = torch.rand(8, 3, 8, 8) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")
    with torch.no_grad():
        latents = vae.encode(images).latent_dist.mode()
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def _save_text(folder: Path, count: int, clip: bool) -> None:
    """The first `count` of SDXL's encoders with their tokenizers."""
    vocabulary, merges = _words(clip)
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)[:count]
    pads = ("<|endoftext|>", "!")
    for index, kind in enumerate(kinds):
        suffix = "_2" if index else ""
        tokenizer = CLIPTokenizer(vocabulary, merges, pad_token=pads[index], model_max_length=TOKEN_LIMIT)
        tokenizer.save_pretrained(folder / f"tokenizer{suffix}")
        config = CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=TEXT_WIDTHS[index],
            intermediate_size=2 * TEXT_WIDTHS[index],
            hidden_act="gelu" if index else "quick_gelu",
            projection_dim=POOLED,
            num_hidden_layers=2,
            num_attention_heads=1,
            max_position_embeddings=TOKEN_LIMIT,
            bos_token_id=vocabulary["<|startoftext|>"],
            eos_token_id=vocabulary["<|endoftext|>"],
            pad_token_id=vocabulary[pads[index]],
        )
        kind(config).save_pretrained(folder / f"text_encoder{suffix}")


def _words(clip: bool) -> tuple[dict[str, int], Any]:
    """Vocabulary and merges: CLIP's own, or every byte, every byte that ends a word, start and end."""
    if clip:
        return byte_pairs()
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}, []


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))

"""The shipped model opens as SDXL without a network, and has learned its captions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from PIL import Image

import sweeplora
from tools.emoji_model.prove import losses
from tools.emoji_model.vae import encode, round_trip_error, stack

ASSETS = Path(sweeplora.__file__).parent / "assets"


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    folder = ASSETS / "models" / "emoji-xl"
    return StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)


def _square_images(name: str) -> tuple[torch.Tensor, list[str]]:
    """The 64 x 64 training images of a demo set (count, 3, 64, 64) and their captions without the trigger."""
    pictures, captions = [], []
    for path in sorted((ASSETS / "data" / name / "train").glob("*.png")):
        with Image.open(path) as picture:
            if picture.size == (64, 64):
                pictures.append(picture.convert("RGB"))
                captions.append(path.with_suffix(".txt").read_text("utf-8").strip().split(", ", 1)[1])
    return stack(pictures), captions


def test_the_default_picture_has_64_pixels(pipeline: StableDiffusionXLPipeline) -> None:
    assert pipeline.vae_scale_factor * pipeline.default_sample_size == 64


def test_the_unet_has_the_blocks_of_sdxl(pipeline: StableDiffusionXLPipeline) -> None:
    unet = pipeline.unet
    down = 1 + sum(len(block.resnets) + len(block.downsamplers or []) for block in unet.down_blocks)
    up = sum(len(block.resnets) for block in unet.up_blocks)
    middle = len(unet.mid_block.resnets) + len(unet.mid_block.attentions)
    assert (down, middle, up) == (9, 3, 9)
    assert type(unet.down_blocks[0]).__name__ == "DownBlock2D"
    assert unet.config.addition_embed_type == "text_time"


def test_prompts_pool_to_embeddings_of_their_own(pipeline: StableDiffusionXLPipeline) -> None:
    prompts = ["red apple, food, fruit", "blue heart, heart, symbol"]
    cpu = torch.device("cpu")
    encoded = pipeline.encode_prompt(prompts, device=cpu, do_classifier_free_guidance=False)  # type: ignore[arg-type]  # it takes lists too
    pooled = encoded[2]
    assert torch.cosine_similarity(pooled[0], pooled[1], dim=0) < 0.9


def test_the_scaling_factor_brings_latents_to_unit_deviation(pipeline: StableDiffusionXLPipeline) -> None:
    pixels, _ = _square_images("twemoji-style")
    assert 0.8 < (encode(pipeline.vae, pixels) * pipeline.vae.config.scaling_factor).std() < 1.25


def test_the_autoencoder_keeps_pictures(pipeline: StableDiffusionXLPipeline) -> None:
    for name in ("twemoji-style", "new-subject"):
        assert round_trip_error(pipeline.vae, _square_images(name)[0]) < 0.01


@pytest.mark.slow
def test_the_right_caption_helps_to_denoise(pipeline: StableDiffusionXLPipeline) -> None:
    pixels, captions = _square_images("twemoji-style")
    latents = encode(pipeline.vae, pixels) * pipeline.vae.config.scaling_factor
    strangers = captions[7:] + captions[:7]
    better = losses(pipeline, latents, captions, seed=1) < losses(pipeline, latents, strangers, seed=1)
    assert better.double().mean() > 0.75

"""The shipped folder: half precision weights in the layout that StableDiffusionXLPipeline opens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from .denoiser import Denoiser
from .schedule import new_scheduler
from .tokenizer import save_tokenizer

KEPT = ("README.md", "contact-sheet.png")


def export(
    vae: AutoencoderKL,
    denoiser: Denoiser,
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer],
    merges: list[tuple[str, str]],
    folder: Path,
) -> None:
    """Write the pipeline whole to `folder`; a card and a contact sheet that lie there stay."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    scheduler: Any = new_scheduler()
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        text_encoder_2=denoiser.text_encoder_2,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=denoiser.unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(partial, safe_serialization=True)
    for name, tokenizer in zip(("tokenizer", "tokenizer_2"), tokenizers, strict=True):
        save_tokenizer(tokenizer, merges, partial / name)
    for name in KEPT:
        if (folder / name).is_file():
            shutil.copy2(folder / name, partial / name)
    _replace(partial, folder)


def _replace(partial: Path, folder: Path) -> None:
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.is_dir():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)

"""The contact sheet: pictures made from captions beside the pictures they were learned from."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from PIL import Image, ImageDraw

from .packages import picture_path
from .pictures import compose, open_picture
from .subjects import Subject

STEPS = 28
GUIDANCE = 4.5
COLUMNS = 6
CELL_WIDTH, CELL_HEIGHT = 140, 84


def generate(pipeline: StableDiffusionXLPipeline, captions: list[str], seed: int) -> list[Image.Image]:
    """One picture of 64 x 64 for each caption, each with its own noise."""
    generators = [torch.Generator().manual_seed(seed + index) for index in range(len(captions))]
    pipeline.set_progress_bar_config(disable=True)
    pictures: list[Image.Image] = pipeline(
        prompt=captions, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators
    ).images
    return pictures


def write_sheet(
    pipeline: StableDiffusionXLPipeline, subjects: list[Subject], work: Path, path: Path, seed: int
) -> None:
    """Write the sheet: in each cell the reference on the left, the generated picture on the right, the name below."""
    made = generate(pipeline, [subject.caption for subject in subjects], seed)
    rows = -(-len(subjects) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * CELL_WIDTH, rows * CELL_HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    for index, (subject, picture) in enumerate(zip(subjects, made, strict=True)):
        left, top = index % COLUMNS * CELL_WIDTH + 4, index // COLUMNS * CELL_HEIGHT + 4
        reference = compose(open_picture(picture_path(work, "noto", subject.image)), (64, 64), 64)
        page.paste(reference, (left, top))
        page.paste(picture, (left + 66, top))
        draw.text((left, top + 65), subject.tags[0][:24], fill="black")
    partial = path.with_suffix(".partial.png")
    page.save(partial, optimize=True)
    os.replace(partial, path)

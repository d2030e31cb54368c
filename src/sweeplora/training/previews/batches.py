"""Which preview images are drawn together: those of one size and one way of sampling; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sweeplora.data.buckets import Size
from sweeplora.training.previews.prompt import Prompt
from sweeplora.training.previews.prompts import drawn_side
from sweeplora.training.previews.samplers import Sampler
from sweeplora.training.previews.settings import Sample

_MOST_TOGETHER = 16
_MOST_PIXELS = 2 * 128 * 128
"""The most latent pixels per forward pass: one image of SDXL's size with guidance, as when drawn alone."""


class Drawing(NamedTuple):
    """What images that are drawn together have in common: sides in pixels, sampler, steps, and being guided or not."""

    width: int
    height: int
    sampler: Sampler
    steps: int
    is_guided: bool


class Places(NamedTuple):
    """Sizes as a model has them: `divisor` of the sides, `scale_factor` pixels per latent along one side."""

    divisor: int
    scale_factor: int


def guidance_of(prompt: Prompt, settings: Sample) -> float:
    """The guidance of an image; 1 or less: none."""
    return settings.guidance if prompt.guidance is None else prompt.guidance


def drawing_of(prompt: Prompt, settings: Sample, size: Size, divisor: int) -> Drawing:
    """How an image is drawn; `size` is used if the prompt has none. Sides are rounded down to ones the model takes."""
    sides = (prompt.width or size.width, prompt.height or size.height)
    width, height = (drawn_side(side, divisor) for side in sides)
    sampler, steps = prompt.sampler or settings.sampler, prompt.steps or settings.steps
    return Drawing(width, height, sampler, steps, guidance_of(prompt, settings) > 1)


def in_batches(prompts: Sequence[Prompt], settings: Sample, size: Size, places: Places) -> list[list[int]]:
    """Indices of the prompts that are drawn together, in order of their first one.

    It depends on the prompts and the model alone, because the size of a batch changes an image's last bits: any number
    of processes draws the same images.
    """
    groups: dict[Drawing, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(drawing_of(prompt, settings, size, places.divisor), []).append(index)
    batches = []
    for drawing, indices in groups.items():
        pixels = (drawing.width // places.scale_factor) * (drawing.height // places.scale_factor)
        together = max(1, min(_MOST_TOGETHER, _MOST_PIXELS // (pixels * (2 if drawing.is_guided else 1))))
        batches += [indices[start : start + together] for start in range(0, len(indices), together)]
    return sorted(batches)


def waiting_notice(num_batches: int, num_processes: int) -> str | None:
    """A line that says how many processes wait at the end of every preview; None if none does."""
    waiting = -num_batches % num_processes
    if not waiting:
        return None
    drawn = "batch" if num_batches == 1 else "batches"
    return (
        f"sample prompts are drawn in {num_batches} {drawn} by {num_processes} processes: {waiting} of them wait while "
        f"the last {num_processes - waiting} draw"
    )

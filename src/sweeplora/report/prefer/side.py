"""One side of a comparison: a contact sheet of a trial's last previews that does not say whose they are."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sweeplora.report.samples import kept_picture, prompt_of, samples_of
from sweeplora.report.sheet import Cell, Grid, draw_sheet

MOST_PROMPTS = 9
_WIDTH = 1024
"""Pixels of the pictures beside one another in a sheet."""


class Preview(NamedTuple):
    """The last preview of one prompt."""

    prompt: str
    file: Path


def last_previews(run: Path) -> dict[int, Preview]:
    """Index of each prompt -> a run's last preview of it; none of a preview that cannot be read."""
    last = {sample.prompt: sample.file for sample in samples_of(run)}  # in the order of the steps
    return {index: Preview(prompt_of(file), file) for index, file in sorted(last.items())}


def shared_prompts(one: Mapping[int, Preview], other: Mapping[int, Preview]) -> list[int]:
    """The indices of the prompts that two trials drew with the same words; at most MOST_PROMPTS."""
    both = [index for index in one if index in other and one[index].prompt == other[index].prompt]
    return both[:MOST_PROMPTS]


def side_picture(previews: Mapping[int, Preview], prompts: Sequence[int], kept: Path) -> str:
    """The sheet of these prompts as a `data:` address; prompts are below the pictures, no trial is named.

    `kept`: the folder of small copies of large previews.
    """
    columns = max(1, math.ceil(math.sqrt(len(prompts))))
    rows = math.ceil(len(prompts) / columns)
    side = _WIDTH // columns
    cells = {
        divmod(place, columns): Cell(kept_picture(previews[index].file, side, kept), (previews[index].prompt,))
        for place, index in enumerate(prompts)
    }
    image = draw_sheet(Grid("", "", ("",) * rows, ("",) * columns, cells), side)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=93, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"

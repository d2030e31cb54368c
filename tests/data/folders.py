"""Image folders and settings for the tests of the data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from sweeplora.data.buckets import Size
from sweeplora.data.captions import CaptionRules
from sweeplora.data.dataset import Dataset, Mask, Picture, Treatment
from sweeplora.data.folder import Folder

_SETTINGS = Path(__file__).parents[2] / "conf" / "data" / "folder.yaml"


RULES = CaptionRules(
    prefix="",
    suffix="",
    separator=",",
    secondary_separator=None,
    shuffle=False,
    keep_tokens=0,
    keep_tokens_separator=None,
    dropout=0.0,
    dropout_every_epochs=0,
    tag_dropout=0.0,
    wildcards=False,
    warmup_min=1,
    warmup_steps=0,
    replacements=(),
)
"""Captions stay as they are written."""

TREATMENT = Treatment(RULES, flip=False, color=False, random_crop=False, is_reg=False)
"""Nothing is random."""


def settings(folder: Path | None, **changes: Any) -> Folder:
    """The shipped settings of a folder, with changes."""
    values = yaml.safe_load(_SETTINGS.read_text())
    del values["_target_"]
    return Folder(**(values | {"dir": str(folder) if folder else None} | changes))


def entry(bucket: tuple[int, int], number: int, repeats: int = 1, mask: Mask | None = None) -> Picture:
    """A picture that no file stands behind, as large as its bucket."""
    size, name = Size(*bucket), f"{bucket}-{number}"
    return Picture(Path(name), name, "", *size, repeats, name, size, size, TREATMENT, mask)


def dataset(pictures: Sequence[Picture], validation: Sequence[Picture] = ()) -> Dataset:
    """A data set of these pictures, its other settings as they are shipped."""
    return Dataset(
        name="x",
        train=tuple(pictures),
        validation=tuple(validation),
        cache_text=None,
        cache_latents=None,
        frozen_latents=False,
        weighted_captions=False,
        prior_loss_weight=1.0,
        validation_seed=0,
        resolution=Size(64, 64),
        workers=0,
        vae_batch_size=1,
    )


def picture(path: Path, size: tuple[int, int] = (64, 64), caption: str | None = "a tag, b", seed: int = 0) -> Path:
    """An image of noise, different for each seed and size, with a caption beside it unless that is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def several(folder: Path, count: int, size: tuple[int, int] = (64, 64)) -> Path:
    """A folder of `count` different images."""
    for number in range(count):
        picture(folder / f"{number:03}.png", size, f"tag {number}, other", seed=number)
    return folder

"""Names of sample images as the step grid in MLflow's UI expects them, the same on every replay."""

from __future__ import annotations

import io
import re
import uuid
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from sweeplora.report.samples import prompt_of, samples_of
from sweeplora.rundir.places import run_folders

_SAMPLE = re.compile(r"(?P<step>\d+)_(?P<prompt>\d+)\.png")
_NAMESPACE = uuid.UUID("8f6f9a52-5b0b-5f0e-9f55-6d2a3c1f7a41")
_PROMPT_LENGTH = 48
_THUMBNAIL_SIDE = 256


class Pictures(NamedTuple):
    """What the grid of a study shows: its keys, one for each prompt, and the step that it opens on."""

    keys: tuple[str, ...] = ()
    step: int = 0


class GridNames(NamedTuple):
    """Artifact names of a sample and of its thumbnail in the grid."""

    picture: str
    thumbnail: str


def grid_names(sample: Path, identity: str, started: int) -> GridNames | None:
    """Names for `<step>_<prompt index>.png`, as MLflow 3's `log_image(key=, step=)` builds them; else None.

    `log_image` puts the time and a random id into the name, which would duplicate every image on a replay. Here the
    time is the run's start plus the step, both in milliseconds, and the id is a hash of run and file name.
    """
    match = _SAMPLE.fullmatch(sample.name)
    if match is None:
        return None
    step = int(match["step"])
    unique = uuid.uuid5(_NAMESPACE, f"{identity}/{sample.name}")
    key = _key(int(match["prompt"]), _prompt(sample))
    stem = f"images/{key}+step+{step}+timestamp+{started + step}+{unique}"
    return GridNames(f"{stem}.png", f"{stem}+compressed.webp")


def pictures_of(study: Path) -> Pictures:
    """The previews of a study's trials in the image grid: the keys of the first that has any, at the usual last step.

    The first step's pictures are the base model's, the same for all trials; the grid shows those of one step only.
    """
    drawn = [samples for folder in run_folders(study) if (samples := samples_of(folder))]
    if not drawn:
        return Pictures()
    files = {sample.prompt: sample.file for sample in drawn[0]}
    ends = Counter(samples[-1].step for samples in drawn)
    keys = tuple(_key(prompt, prompt_of(file)) for prompt, file in sorted(files.items()))
    return Pictures(keys, max(ends, key=lambda step: (step > 0, ends[step], step)))


def _prompt(sample: Path) -> str:
    with Image.open(sample) as picture:
        return str(picture.info.get("prompt", ""))


def _key(index: int, prompt: str) -> str:
    words = re.sub(r"[^a-zA-Z0-9_\-. ]+", " ", prompt).split()
    return " ".join([f"{index:02d}", *words])[:_PROMPT_LENGTH].strip()


def thumbnail(sample: Path) -> bytes:
    """The image as WebP, 256 pixels on the longer side; small ones are enlarged, since the grid does not scale them."""
    with Image.open(sample) as picture:
        scale = _THUMBNAIL_SIDE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        small = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=85, method=1)
    return stream.getvalue()

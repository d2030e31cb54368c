"""The preview images of a run, as they lie in its folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import yaml
from PIL import Image, UnidentifiedImageError

from sweeplora.rundir.folder import RunDir

_NAME = re.compile(r"(\d{8})_(\d{2,})\.png")
BROKEN = (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no whole image."""


class Sample(NamedTuple):
    """One preview: after `step` optimizer steps, of the prompt with this index."""

    step: int
    prompt: int
    file: Path


def samples_of(run: Path) -> list[Sample]:
    """All previews of a run, by step and prompt; none before there are any."""
    folder = RunDir(run).samples
    if not folder.is_dir():
        return []
    named = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(Sample(int(match[1]), int(match[2]), path) for match, path in named)


def prompt_of(file: Path) -> str:
    """The prompt that a preview was drawn for, empty if the file does not say."""
    try:
        with Image.open(file) as picture:
            return str(picture.info.get("prompt", ""))
    except BROKEN:
        return ""


def picture_of(file: Path, side: int) -> Image.Image | None:
    """A preview that fits into a square of `side` pixels, small ones enlarged; None if it is gone or broken."""
    try:
        with Image.open(file) as picture:
            scale = side / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            colours = picture.convert("RGB")
    except BROKEN:
        return None
    # A box filter first: most of the pixels of a large preview go, and it is the quickest way to lose them.
    return colours.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def kept_picture(file: Path, side: int, kept: Path | None) -> Image.Image | None:
    """As `picture_of`; large previews are read from a small copy in the folder `kept`, if one is given."""
    if kept is None:
        return picture_of(file, side)
    copy = kept / f"{file.parent.parent.name}-{file.stem}-{side}.webp"
    try:
        if copy.stat().st_mtime_ns >= file.stat().st_mtime_ns:
            with Image.open(copy) as picture:
                return picture.convert("RGB")
    except BROKEN:
        pass  # there is no copy, or none that serves
    picture_ = picture_of(file, side)
    if picture_ is not None and file.stat().st_size > _LARGE_BYTES:
        kept.mkdir(parents=True, exist_ok=True)
        picture_.save(copy, "WEBP", quality=90, method=1)
    return picture_


_LARGE_BYTES = 200_000


def starts_from_a_file(run: Path) -> bool:
    """Whether a run's network starts from weights, so that its first previews are not the base model's."""
    try:
        config = yaml.load(RunDir(run).config.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError, RecursionError):
        return False
    network = config.get("network") if isinstance(config, dict) else None
    return isinstance(network, dict) and bool(network.get("weights"))

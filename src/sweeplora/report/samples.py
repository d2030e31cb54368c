"""The preview images of a run, as they lie in its folder."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from PIL import Image, UnidentifiedImageError

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.yaml_text import read_yaml

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


def last_of_each_prompt(samples: Sequence[Sample]) -> list[Sample]:
    """The last preview of each prompt, of previews in the order of their steps."""
    return list({sample.prompt: sample for sample in samples}.values())


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
            # A box filter first: most of the pixels of a large preview go, and it is the quickest way to lose them.
            return _fitted(picture.convert("RGB"), side)
    except BROKEN:
        return None


def kept_picture(file: Path, side: int, kept: Path | None) -> Image.Image | None:
    """As `picture_of`; a large preview is read from its small copy in the folder `kept`, if one is given."""
    if kept is None or side > SMALL or not _is_large(file):
        return picture_of(file, side)
    keep_copies([file], kept)
    small = picture_of(_copy_of(file, kept), side)
    return picture_of(file, side) if small is None else small


def keep_copies(files: Iterable[Path], kept: Path) -> None:
    """Write the small copies of large previews that are missing or older than their preview, but of broken ones."""
    for pair in _due(files, kept):
        _write_copy(pair)


@contextmanager
def copying(files: Iterable[Path], kept: Path) -> Iterator[None]:
    """Write the small copies in processes of their own while the body runs; all are there after it.

    Decoding takes nearly all of the time, and holds the interpreter.
    """
    due = _due(files, kept)
    processes = len(os.sched_getaffinity(0))
    if processes < 2 or len(due) < _FEW:
        yield
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        copies = pool.map(_write_copy, due, chunksize=_FEW // 2)
        yield
        list(copies)


def _due(files: Iterable[Path], kept: Path) -> list[tuple[Path, Path]]:
    pairs = [(file, _copy_of(file, kept)) for file in dict.fromkeys(files) if _is_large(file)]
    due = [(file, copy) for file, copy in pairs if not _is_current(copy, file)]
    if due:
        kept.mkdir(parents=True, exist_ok=True)
    return due


SMALL = 256
"""Pixels on the longer side of a small copy: the most that a picture has in a sheet of several trials."""

_LARGE_BYTES = 200_000
_FEW = 8
"""Fewer decode sooner than processes start."""


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _is_large(file: Path) -> bool:
    try:
        return file.stat().st_size > _LARGE_BYTES
    except OSError:
        return False


def _copy_of(file: Path, kept: Path) -> Path:
    return kept / f"{file.parent.parent.name}-{file.stem}.webp"


def _is_current(copy: Path, file: Path) -> bool:
    try:
        return copy.stat().st_mtime_ns >= file.stat().st_mtime_ns
    except OSError:
        return False


def _write_copy(pair: tuple[Path, Path]) -> None:
    file, copy = pair
    picture = picture_of(file, SMALL)
    if picture is not None:
        # Not brought to the disk at once: a torn copy is no picture, and the preview is read instead.
        part = copy.with_suffix(f".{os.getpid()}.tmp")
        picture.save(part, "WEBP", quality=90, method=1)
        part.replace(copy)


def starts_from_a_file(run: Path) -> bool:
    """Whether a run's network starts from weights, so that its first previews are not the base model's."""
    try:
        config = read_yaml(RunDir(run).config.read_bytes())
    except (OSError, yaml.YAMLError, RecursionError):
        return False
    network = config.get("network") if isinstance(config, dict) else None
    return isinstance(network, dict) and bool(network.get("weights"))

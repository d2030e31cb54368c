"""One folder of images with caption files beside them, read and found good."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeplora.data.buckets import Size
from sweeplora.data.images import SUFFIXES, UNREADABLE_SUFFIXES, Judged, Verdicts
from sweeplora.errors import UserError

_REPEATS = re.compile(r"(\d+)_")


@dataclass(frozen=True)
class Found:
    """A good image file: `name` is its path below the folder, `size` the upright picture's in pixels."""

    path: Path
    name: str
    caption: str
    size: Size
    repeats: int
    sha256: str


def read_folder(key: str, folder: Path, extension: str, blank_captions: bool, verdicts: Verdicts) -> list[Found]:
    """Every image below `folder`, ordered by name.

    A sub-folder `N_name` directly below repeats its images N times. `key` is the configuration key that named
    the folder, `blank_captions` says that an empty caption file is meant. Raises UserError for a folder that
    is missing or holds no image, for images without a caption and for images that cannot be trained on.
    """
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise UserError(key, folder, f"the folder {state}; give a folder of images with {extension} captions")
    try:
        names = sorted(_names(folder, frozenset()))
    except OSError as error:
        raise UserError(key, error.filename, f"the folder cannot be read ({error.strerror})") from None
    images = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
    strange = [name for name in names if Path(name).suffix.lower() in UNREADABLE_SUFFIXES]
    if strange:
        count = len(images) + len(strange)
        raise UserError(key, folder, _some(strange, count, "in a format not read here", "make them PNG or JPEG"))
    if not images:
        raise UserError(key, folder, f"there is no image in it; {' '.join(sorted(SUFFIXES))} files are taken")
    captions = _captions(key, folder, images, extension, blank_captions)
    judged = _judged(key, folder, images, verdicts)
    return [
        Found(folder / name, name, caption, size, _repeats(key, name), one.sha256)
        for name, caption, one in zip(images, captions, judged, strict=True)
        if (size := one.size)
    ]


def _names(folder: Path, above: frozenset[str]) -> Iterator[str]:
    """Visible files below `folder`, with links followed but never in a circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in _names(Path(entry.path), above | {real}))
        else:
            yield entry.name


def _captions(key: str, folder: Path, images: list[str], extension: str, blank: bool) -> list[str]:
    texts = [_caption((folder / name).with_suffix(extension), key) for name in images]
    missing = [name for name, text in zip(images, texts, strict=True) if text is None]
    if missing:
        mend = f"write {Path(missing[0]).with_suffix(extension).name} and the like beside them"
        raise UserError(key, folder, _some(missing, len(images), "without a caption", mend))
    empty = [name for name, text in zip(images, texts, strict=True) if not text]
    if empty and not blank:
        mend = "write captions, or give data.caption_prefix for all"
        raise UserError(key, folder, _some(empty, len(images), "with an empty caption file", mend))
    return [text or "" for text in texts]


def _caption(path: Path, key: str) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(key, path, f"the caption cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(key, path, "the caption is not UTF-8 text; save it as UTF-8") from None


def _judged(key: str, folder: Path, images: list[str], verdicts: Verdicts) -> list[Judged]:
    try:
        judged = verdicts.judge([folder / name for name in images])
    except OSError as error:
        raise UserError(key, error.filename, f"the image cannot be read ({error.strerror})") from None
    bad = [(name, one.fault) for name, one in zip(images, judged, strict=True) if one.fault]
    if bad:
        count = f" ({len(bad)} such images in all)" if len(bad) > 1 else ""
        raise UserError(key, folder / bad[0][0], f"the image {bad[0][1]}{count}; replace it or take it away")
    return judged


def _repeats(key: str, name: str) -> int:
    first, _, below = name.partition("/")
    match = _REPEATS.match(first) if below else None
    if match is None:
        return 1
    if int(match[1]) == 0:
        raise UserError(key, first, "a sub-folder that repeats its images 0 times; rename it or move it away")
    return int(match[1])


def _some(names: list[str], total: int, fault: str, mend: str) -> str:
    return f"{len(names)} of {total} images {fault} (first: {names[0]}); {mend}"

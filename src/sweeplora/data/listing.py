"""One folder of images with caption files beside them, read and found good."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeplora.data.buckets import Size
from sweeplora.data.decode import SUFFIXES, UNREADABLE_SUFFIXES, ImageVerdict, ImageVerdicts
from sweeplora.errors import UserError

_REPEATS = re.compile(r"(\d+)_")


@dataclass(frozen=True)
class FoundImage:
    """A good image file: `name` is its path below the folder, `size` the upright picture's in pixels."""

    path: Path
    name: str
    caption: str
    size: Size
    repeats: int
    sha256: str


@dataclass(frozen=True)
class CaptionSource:
    """Where captions come from: files with `extension` beside the images.

    Where there is none: the name of the sub-folder without its number where `folder_captions` says so, else
    `class_tokens`. `may_be_empty`: an empty caption file is meant.
    """

    extension: str
    class_tokens: str | None
    folder_captions: bool
    may_be_empty: bool


def read_folder(key: str, folder: Path, captions: CaptionSource, verdicts: ImageVerdicts) -> list[FoundImage]:
    """Every image below `folder`, ordered by name.

    A sub-folder `N_name` directly below repeats its images N times. `key` is the configuration key that named
    the folder. Raises UserError for a folder that is missing or holds no image, for images without a caption
    and for images that cannot be trained on.
    """
    names = names_below(key, folder, f"images with {captions.extension} captions")
    images = [name for name in names if suffix(name) in SUFFIXES]
    strange = [name for name in names if suffix(name) in UNREADABLE_SUFFIXES]
    if strange:
        count = len(images) + len(strange)
        raise UserError(key, folder, _some(strange, count, "in a format not read here", "make them PNG or JPEG"))
    if not images:
        raise UserError(key, folder, f"there is no image in it; {' '.join(sorted(SUFFIXES))} files are taken")
    texts = _captions(key, folder, images, captions)
    return [
        FoundImage(folder / name, name, caption, size, _repeats(key, name), one.sha256)
        for name, caption, one in zip(images, texts, judged(key, folder, images, verdicts), strict=True)
        if (size := one.size)
    ]


def suffix(name: str) -> str:
    """The end of a file's name from its last dot on, in small letters."""
    return os.path.splitext(name)[1].lower()


def names_below(key: str, folder: Path, what: str) -> list[str]:
    """Paths of the visible files below `folder`, relative to it, ordered; `what` it should hold, for messages."""
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise UserError(key, folder, f"the folder {state}; give a folder of {what}")
    try:
        return sorted(_names(folder, frozenset()))
    except OSError as error:
        raise UserError(key, error.filename, f"the folder cannot be read ({error.strerror})") from None


def judged(key: str, folder: Path, images: list[str], verdicts: ImageVerdicts) -> list[ImageVerdict]:
    """The verdicts on image files below `folder`. Raises UserError for those that cannot be used."""
    try:
        found = verdicts.judge([folder / name for name in images])
    except OSError as error:
        raise UserError(key, error.filename, f"the image cannot be read ({error.strerror})") from None
    bad = [(name, one.fault) for name, one in zip(images, found, strict=True) if one.fault]
    if bad:
        count = f" ({len(bad)} such images in all)" if len(bad) > 1 else ""
        raise UserError(key, folder / bad[0][0], f"the image {bad[0][1]}{count}; replace it or take it away")
    return found


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


def _captions(key: str, folder: Path, images: list[str], captions: CaptionSource) -> list[str]:
    stems = [os.path.join(folder, os.path.splitext(name)[0]) for name in images]
    written = [_caption(Path(stem + captions.extension), key) for stem in stems]
    texts = [_instead(name, captions) if text is None else text for name, text in zip(images, written, strict=True)]
    missing = [name for name, text in zip(images, texts, strict=True) if text is None]
    if missing:
        mend = f"write {Path(missing[0]).with_suffix(captions.extension).name} and the like beside them"
        raise UserError(key, folder, _some(missing, len(images), "without a caption", mend))
    empty = [name for name, text in zip(images, texts, strict=True) if not text]
    if empty and not captions.may_be_empty:
        mend = "write captions, or give data.caption_prefix for all"
        raise UserError(key, folder, _some(empty, len(images), "with an empty caption file", mend))
    return [text or "" for text in texts]


def _instead(name: str, captions: CaptionSource) -> str | None:
    """The caption of an image that has no caption file."""
    first, _, below = name.partition("/")
    match = _REPEATS.match(first) if below and captions.folder_captions else None
    return first[match.end() :] if match else captions.class_tokens


def _caption(path: Path, key: str) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(key, path, f"the caption cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(key, path, "the caption is not UTF-8 text; save it as UTF-8") from None


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

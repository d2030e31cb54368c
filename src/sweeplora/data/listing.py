"""One folder of images with caption files beside them: listed, read and checked."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sweeplora.data.buckets import Size
from sweeplora.data.caption_files import CaptionSource, Listing, read_captions, stem
from sweeplora.data.decode import SUFFIXES
from sweeplora.data.notices import counted, shown
from sweeplora.data.verdicts import Box, ImageVerdict, ImageVerdicts
from sweeplora.errors import UserError

_UNREAD_SUFFIXES = frozenset(
    (
        *(".heic", ".heif", ".jxl", ".jxr", ".psd", ".psb", ".xcf", ".kra", ".clip", ".svg", ".svgz", ".eps", ".ai"),
        *(".pdf", ".exr", ".hdr", ".pfm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"),
        *(".ico", ".icns", ".cur", ".dds", ".xbm", ".xpm", ".fits", ".ras", ".wmf", ".emf"),
        *(".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v"),
    )
)
"""Images and films that are not read here: a notice names them."""

_REPEATS = re.compile(r"(\d+)_")
_BESIDE_CAPTIONS = frozenset((".txt", ".caption", ".npz", ".json"))
_MOST_ENTRIES = 1_000_000
_KERNEL_FOLDERS = ("/proc", "/sys", "/dev")


@dataclass(frozen=True)
class FoundImage:
    """A good image file: `name` is its path below the folder, `size` the upright image's in pixels.

    `levels` and `opaque` are those of its ImageVerdict.
    """

    path: Path
    name: str
    caption: str
    size: Size
    repeats: int
    sha256: str
    levels: str
    opaque: Box | None


class FoundImages(NamedTuple):
    """The images of a folder, ordered by name, and notices about it without its name."""

    images: list[FoundImage]
    notices: list[str]


def read_folder(key: str, folder: Path, captions: CaptionSource, verdicts: ImageVerdicts) -> FoundImages:
    """Every image below `folder`.

    A sub-folder `N_name` directly below repeats its images N times. `key` is the configuration key that names the
    folder. Raises UserError for a folder that is missing or holds no image, for images without a caption and for
    images that cannot be trained on.
    """
    listing = list_folder(key, folder, captions.extension)
    images = listing.images
    by_folder = [folder_caption(name) if captions.folder_captions else None for name in images]
    texts, notices = read_captions(listing, captions, by_folder)
    judged = judge(key, folder, images, verdicts)
    found = [
        FoundImage(folder / name, name, text, size, repeats_below(key, name), one.sha256, one.levels, one.opaque)
        for name, text, one in zip(images, texts, judged, strict=True)
        if (size := one.size)
    ]
    return FoundImages(found, [*left_out_notices(listing), *notices])


def list_folder(key: str, folder: Path, extension: str) -> Listing:
    """The files below `folder`, none of them opened. Raises UserError for a folder that is missing or has no image."""
    names = names_below(key, folder, f"images with {extension} captions")
    images = [name for name in names if suffix(name) in SUFFIXES]
    listing = Listing(key, folder, names, images, _left_out(names, images, extension))
    if not images:
        others = "".join(f" ({line})" for line in left_out_notices(listing))
        mend = f"there is no image in it{others}; {' '.join(sorted(SUFFIXES))} files are read"
        raise UserError(key, shown(str(folder)), mend)
    return listing


def suffix(name: str) -> str:
    """A file's suffix in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def names_below(key: str, folder: Path, what: str) -> list[str]:
    """Paths of the visible files below `folder`, relative to it, sorted; `what` it should hold, for messages."""
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise UserError(key, shown(str(folder)), f"the folder {state}; give a folder of {what}")
    try:
        return sorted(_names(key, folder))
    except OSError as error:
        mend = f"the folder cannot be read ({error.strerror})"
        raise UserError(key, shown(str(error.filename)), mend) from None


def judge(key: str, folder: Path, images: Sequence[str], verdicts: ImageVerdicts) -> list[ImageVerdict]:
    """The verdicts on image files below `folder`. Raises UserError for those that cannot be used."""
    try:
        irregular = [name for name in images if not stat.S_ISREG((folder / name).stat().st_mode)]
        if irregular:
            raise UserError(key, shown(str(folder / irregular[0])), "the image is no regular file; take it away")
        found = verdicts.judge([folder / name for name in images])
    except OSError as error:
        mend = f"the image cannot be read ({error.strerror})"
        raise UserError(key, shown(str(error.filename)), mend) from None
    bad = [(name, one.fault) for name, one in zip(images, found, strict=True) if one.fault]
    if bad:
        count = f" ({len(bad)} such images in all)" if len(bad) > 1 else ""
        mend = f"the image {bad[0][1]}{count}; replace it or take it away"
        raise UserError(key, shown(str(folder / bad[0][0])), mend)
    return found


def repeats_of(folder_name: str) -> int | None:
    """The N of a folder called `N_name`, None for other names."""
    match = _REPEATS.match(folder_name)
    return int(match[1]) if match else None


def _names(key: str, folder: Path) -> Iterator[str]:
    """Visible files below `folder`, with links followed but never in a circle."""
    kernel = _kernel_devices()
    left = _MOST_ENTRIES
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [("", str(folder), frozenset())]
    while waiting:
        prefix, path, above = waiting.pop()
        status = os.stat(path)
        if status.st_dev in kernel:
            raise UserError(key, shown(path), "belongs to the system's kernel; give a folder of images")
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        with os.scandir(path) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    mend = f"holds more than {_MOST_ENTRIES:,} files; give the folder of the images alone"
                    raise UserError(key, shown(str(folder)), mend)
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.append((f"{prefix}{entry.name}/", entry.path, above | {identity}))
                else:
                    yield prefix + entry.name


def _kernel_devices() -> set[int]:
    """The devices of file systems that the kernel makes up."""
    found = {os.stat(folder).st_dev for folder in _KERNEL_FOLDERS if os.path.isdir(folder)}
    return found - {os.stat("/").st_dev}


def _left_out(names: Sequence[str], images: Sequence[str], extension: str) -> list[str]:
    """Files that are not read although they look like images, or have a caption of their own."""
    captioned = {name.removesuffix(extension) for name in names if name.endswith(extension)}
    captioned -= {stem(name) for name in images}

    def is_captioned(name: str) -> bool:
        return stem(name) in captioned and suffix(name) not in _BESIDE_CAPTIONS and not name.endswith(extension)

    return [name for name in names if suffix(name) in _UNREAD_SUFFIXES or is_captioned(name)]


def left_out_notices(listing: Listing) -> list[str]:
    """A line on the files that are not read although they look like images."""
    mend = "; their formats are not read: make them PNG or JPEG"
    return counted(listing.left_out, "file is left out", "files are left out", mend)


def folder_caption(name: str) -> str | None:
    """The name of the sub-folder `N_name` that an image lies in, without the number."""
    first, _, below = name.partition("/")
    match = _REPEATS.match(first) if below else None
    return first[match.end() :] if match else None


def repeats_below(key: str, name: str) -> int:
    """How often the sub-folder that an image lies in repeats it. Raises UserError for a sub-folder `0_name`."""
    first, _, below = name.partition("/")
    repeats = repeats_of(first) if below else None
    if repeats == 0:
        raise UserError(key, shown(first), "a sub-folder that repeats its images 0 times; rename it or move it away")
    return 1 if repeats is None else repeats

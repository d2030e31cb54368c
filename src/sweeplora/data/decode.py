"""Image files: decoded to upright RGB, judged once, and the verdict remembered by content."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image, ImageOps, UnidentifiedImageError

from sweeplora.content import ContentHashes
from sweeplora.data.buckets import Size
from sweeplora.rundir.files import write_whole

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"))
"""Names that are taken for images."""

UNREADABLE_SUFFIXES = frozenset((".heic", ".heif", ".jxl", ".jp2", ".psd"))
"""Names that are images too, which nothing here can decode: refused rather than left out silently."""

_RULES = 2  # part of a remembered verdict; raise it when decode() judges differently
_SAVE_EVERY = 256
# Pillow's decoders report a damaged file in all of these ways.
_DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
)

# Pillow warns of large pictures, which are welcome here; twice that size is an error, which decode() reports.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageFault(Exception):
    """Why a file cannot be trained on, in a few words."""


def decode(data: bytes, *, keep_alpha: bool = False) -> Image.Image:
    """The picture in a file's bytes as RGB: upright (EXIF), transparency on white, 16 bits as 8.

    With `keep_alpha` as RGBA instead: the colours as they lie below the transparency, opaque where the file has
    none. Raises ImageFault for a file that is no image, is cut off, moves, or has colours that have no plain
    RGB. Of 16-bit colours Pillow keeps the upper 8 bits; 16-bit grey is rounded. CMYK is converted without its
    colour profile, as everywhere else profiles are ignored.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            _refuse_unusable(image)
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _plain(upright).convert("RGBA") if keep_alpha else _on_white(_plain(upright))
    except ImageFault:
        raise
    except UnidentifiedImageError:
        if data[4:10] == b"ftypav":
            raise ImageFault("is an AVIF file that is cut off, or that this Pillow was built without") from None
        raise ImageFault("is not an image that can be read") from None
    except Image.DecompressionBombError:
        raise ImageFault("has more pixels than any training can use") from None
    except _DAMAGE as error:
        raise ImageFault(f"is damaged or cut off ({' '.join(str(error).split())})") from None


def _refuse_unusable(image: Image.Image) -> None:
    # Some phones put a second picture (depth, a small copy) into a JPEG: that is MPO and does not move.
    if image.format != "MPO" and _has_second_frame(image):
        raise ImageFault("is animated or has several pages")
    if image.mode in ("LAB", "HSV", "F"):
        raise ImageFault(f"has the colour mode {image.mode}, which has no plain RGB")


def _has_second_frame(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return False
    return True


def _plain(image: Image.Image) -> Image.Image:
    """The picture with levels of 8 bits: RGBA where anything may be transparent, else RGB."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        # Pillow alone would clip 16-bit grey to white instead of scaling it.
        lowest, highest = cast("tuple[int, int]", image.getextrema())
        if lowest < 0 or highest >= 1 << 16:
            raise ImageFault("has 32-bit grey levels, which have no known white")
        return image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L").convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


@dataclass(frozen=True)
class ImageVerdict:
    """One file's content hash and what came of decoding it: an upright size in pixels, or a fault."""

    sha256: str
    size: Size | None
    fault: str | None


class ImageVerdicts:
    """Judges image files, each content decoded once as long as the memo lives.

    `cache` is `runs/cache/`, which holds the memos `hashes.json` and `images.json`; None remembers nothing.
    A lost memo costs time, never truth.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._hashes = ContentHashes(cache / "hashes.json" if cache else Path(os.devnull))
        self._known = _read(cache / "images.json") if cache else {}

    def judge(self, paths: Sequence[Path]) -> list[ImageVerdict]:
        """The verdicts on `paths`, in order. Raises OSError for a file that cannot be opened."""
        digests = [self._hashes.file(path) for path in paths]
        files = dict(zip(digests, paths, strict=True))
        unknown = sorted(digest for digest in files if digest not in self._known)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
            for start in range(0, len(unknown), _SAVE_EVERY):
                part = unknown[start : start + _SAVE_EVERY]
                verdicts = threads.map(_judge, part, [files[digest] for digest in part])
                self._known |= dict(zip(part, verdicts, strict=True))
                self._save()
        if self._cache:
            self._hashes.save()
        return [_judged(digest, self._known[digest]) for digest in digests]

    def _save(self) -> None:
        if self._cache:
            self._cache.mkdir(parents=True, exist_ok=True)
            memo = self._cache / "images.json"
            write_whole(memo, json.dumps({"rules": _RULES, "verdicts": _read(memo) | self._known}))


def _judge(digest: str, path: Path) -> list[int] | str:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise OSError(errno.EAGAIN, "it is being written", str(path))
    try:
        return list(decode(data).size)
    except ImageFault as fault:
        return str(fault)


def _judged(digest: str, verdict: list[int] | str) -> ImageVerdict:
    if isinstance(verdict, str):
        return ImageVerdict(digest, None, verdict)
    return ImageVerdict(digest, Size(verdict[0], verdict[1]), None)


def _read(memo: Path) -> dict[str, list[int] | str]:
    try:
        content = json.loads(memo.read_text())
        return dict(content["verdicts"]) if content["rules"] == _RULES else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}

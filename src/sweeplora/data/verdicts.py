"""Verdicts on image files: each content is decoded once, and what came of it remembered."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sweeplora.content import ContentHashes, read_memo, write_memo
from sweeplora.data.buckets import Size
from sweeplora.data.decode import ImageFault, decode, on_white

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom lie outside."""

_RULES = 4  # part of a remembered verdict; raise it when an image is decoded or judged differently
_SAVE_EVERY = 256


@dataclass(frozen=True)
class ImageVerdict:
    """What one file holds, its hex sha256 first: an upright size in pixels, or the fault that bars it.

    `levels` is the hex sha256 of the decoded RGB levels, the same for equal images in different formats. `lit` is the
    box around all pixels with a red level above 0, `opaque` the one around all with any alpha; None without any.
    """

    sha256: str
    size: Size | None
    fault: str | None
    levels: str = ""
    lit: Box | None = None
    opaque: Box | None = None


class ImageVerdicts:
    """Judges image files, each content decoded once for as long as the memo lives.

    `cache` is `runs/cache/`, which holds the memos `hashes.json` and `images.json`; None remembers nothing.
    A lost or damaged memo costs time and nothing else.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._hashes = ContentHashes(cache / "hashes.json" if cache else Path(os.devnull))
        self._known: dict[str, Any] = read_memo(cache / "images.json", _RULES) if cache else {}

    def judge(self, paths: Sequence[Path]) -> list[ImageVerdict]:
        """The verdicts on `paths`, in order. Raises OSError for a file that cannot be opened."""
        digests = [self._hashes.file(path) for path in paths]
        files = dict(zip(digests, paths, strict=True))
        unknown = sorted(digest for digest in files if digest not in self._known)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
            for start in range(0, len(unknown), _SAVE_EVERY):
                some = unknown[start : start + _SAVE_EVERY]
                verdicts = threads.map(_judge, some, [files[digest] for digest in some])
                self._known |= dict(zip(some, verdicts, strict=True))
                self._save()
        if self._cache:
            self._hashes.save()
        return [_verdict(digest, self._known[digest]) for digest in digests]

    def _save(self) -> None:
        if self._cache:
            memo = self._cache / "images.json"
            write_memo(memo, _RULES, read_memo(memo, _RULES) | self._known)


def _judge(digest: str, path: Path) -> list[Any] | str:
    """A verdict as the memo holds it: the fault, or size, levels and the two boxes."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise OSError(errno.EAGAIN, "it is being written", str(path))
    try:
        image = decode(data, keep_alpha=True)
    except ImageFault as fault:
        return str(fault)
    boxes = [image.getchannel("R").getbbox(), image.getchannel("A").getbbox()]
    return [*image.size, _levels(image), *(box and list(box) for box in boxes)]


def _levels(image: Image.Image) -> str:
    digest = hashlib.sha256(f"{image.width} {image.height}\n".encode())
    opaque = image.getchannel("A").getextrema() == (255, 255)
    digest.update((image.convert("RGB") if opaque else on_white(image)).tobytes())
    return digest.hexdigest()


def _verdict(digest: str, remembered: list[Any] | str) -> ImageVerdict:
    if isinstance(remembered, str):
        return ImageVerdict(digest, None, remembered)
    width, height, levels, lit, opaque = remembered
    return ImageVerdict(digest, Size(width, height), None, levels, lit and tuple(lit), opaque and tuple(opaque))

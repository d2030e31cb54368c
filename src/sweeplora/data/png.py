"""The chunks of PNG files: those that describe the picture taken out, those that hold it checked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DESCRIPTIONS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_ORIENTATIONS = (b"XML:com.adobe.xmp", b"Raw profile type exif")
_MOST = 1 << 20  # what Pillow inflates of one chunk before it gives up


def without_descriptions(data: bytes) -> bytes:
    """A PNG's bytes without text and colour profiles; other files as they are.

    Image generators embed whole workflows as compressed text. Pillow inflates up to 1 MiB of a chunk and takes a
    larger one for an attack, and so the file for damaged. Chunks that may hold the orientation stay, unless they
    inflate to more than that.
    """
    parts, kept_from = [], 0
    for chunk in _chunks(data):
        if chunk.kind in _DESCRIPTIONS and not _stays(chunk.kind, data[chunk.start + 8 : chunk.end - 4]):
            parts.append(data[kept_from : chunk.start])
            kept_from = chunk.end
    return b"".join([*parts, data[kept_from:]]) if parts else data


def has_damaged_pixels(data: bytes) -> bool:
    """Whether a PNG's compressed pixels are not those that were written, told by their checksum, as libpng does.

    Pillow checks every other chunk, and of the pixels only what zlib notices before the last row is there.
    """
    view = memoryview(data)
    return any(
        chunk.kind == b"IDAT"
        and zlib.crc32(view[chunk.start + 4 : chunk.end - 4]) != int.from_bytes(view[chunk.end - 4 : chunk.end], "big")
        for chunk in _chunks(data)
    )


class _Chunk(NamedTuple):
    """A chunk of a file: its type, and where it begins with its length and ends with its checksum."""

    kind: bytes
    start: int
    end: int


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The whole chunks of a PNG in order; none of another file."""
    position = len(_SIGNATURE) if data.startswith(_SIGNATURE) else len(data)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end <= len(data):
            yield _Chunk(data[position + 4 : position + 8], position, end)
        position = end


def _stays(kind: bytes, content: bytes) -> bool:
    keyword, _, rest = content.partition(b"\0")
    if keyword not in _ORIENTATIONS:
        return False
    if kind == b"zTXt":
        return _is_small(rest[1:])
    if kind == b"iTXt" and rest[:1] == b"\1":
        return _is_small(rest[2:].split(b"\0", 2)[-1])
    return len(content) <= _MOST


def _is_small(compressed: bytes) -> bool:
    try:
        return len(zlib.decompressobj().decompress(compressed, _MOST + 1)) <= _MOST
    except zlib.error:
        return False

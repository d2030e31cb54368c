"""PNG files without the chunks that describe them, which may inflate to megabytes and change no pixel."""

from __future__ import annotations

import zlib

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
    if not data.startswith(_SIGNATURE):
        return data
    parts, position, kept_from = [], len(_SIGNATURE), 0
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 12 + length
        if kind in _DESCRIPTIONS and end <= len(data) and not _stays(kind, data[position + 8 : end - 4]):
            parts.append(data[kept_from:position])
            kept_from = end
        position = end
    return b"".join([*parts, data[kept_from:]]) if parts else data


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

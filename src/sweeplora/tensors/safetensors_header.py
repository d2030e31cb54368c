"""Reads and writes the header of a safetensors file; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from sweeplora.tensors.stored import ITEM_SIZES, Stored, UnreadableFile, contiguous

_LENGTH_BYTES = 8
_METADATA = "__metadata__"


def read_safetensors(file: Path) -> dict[str, Stored]:
    """Every tensor of a safetensors file by name.

    Raises UnreadableFile if it is not a safetensors file or is truncated, FileNotFoundError if it does not exist.
    """
    text, size = _header(file), file.stat().st_size
    try:
        entries = _parsed(text)
        start = _LENGTH_BYTES + len(text)
        found = {name: _stored(file, start, entry) for name, entry in entries.items() if name != _METADATA}
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        raise UnreadableFile("is no safetensors file") from None
    if size < max((one.offset + one.extent for one in found.values()), default=0):
        raise UnreadableFile("is truncated")
    return found


def read_metadata(file: Path) -> tuple[dict[str, str], int]:
    """The metadata of a safetensors file, and where its tensors' bytes begin.

    Raises UnreadableFile if it is not a safetensors file, FileNotFoundError if it does not exist.
    """
    text = _header(file)
    try:
        said = _parsed(text).get(_METADATA) or {}
        return {str(key): str(value) for key, value in said.items()}, _LENGTH_BYTES + len(text)
    except (ValueError, AttributeError, RecursionError):
        raise UnreadableFile("is no safetensors file") from None


def split(data: bytes | bytearray) -> tuple[dict[str, Any], int]:
    """The header of a whole safetensors file in memory, and where the tensors' bytes begin.

    Raises ValueError if the data does not start with a header.
    """
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    return _parsed(data[_LENGTH_BYTES:start]), start


def with_metadata(header: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """The first bytes of a file: a header's tensors and this metadata in order, padded as the format requires."""
    tensors = {name: entry for name, entry in header.items() if name != _METADATA}
    ordered = {_METADATA: dict(sorted(metadata.items())), **tensors}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _header(file: Path) -> bytes:
    """The whole text of a file's header. Raises UnreadableFile if it does not fit into the file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if not 0 < length <= size - _LENGTH_BYTES:
            raise UnreadableFile("is no safetensors file")
        return stream.read(length)


def _parsed(text: bytes | bytearray) -> dict[str, Any]:
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header


def _stored(file: Path, start: int, entry: Mapping[str, Any]) -> Stored:
    shape = tuple(int(side) for side in entry["shape"])
    first, last = entry["data_offsets"]
    dtype = str(entry["dtype"])
    if first < 0 or min(shape, default=0) < 0 or last - first != prod(shape) * ITEM_SIZES[dtype]:
        raise ValueError("the shape and the bytes differ")
    return Stored(file, start + int(first), dtype, shape, contiguous(shape))

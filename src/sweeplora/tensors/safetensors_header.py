"""Reads and writes the header of a safetensors file; no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from sweeplora.rundir.header import LENGTH_BYTES, METADATA, parsed, read_header
from sweeplora.tensors.stored import ITEM_SIZES, Stored, UnreadableFile, contiguous


def read_safetensors(file: Path) -> dict[str, Stored]:
    """Every tensor of a safetensors file by name.

    Raises UnreadableFile if it is not a safetensors file, is truncated, or names a tensor twice or not all of its
    bytes, as safetensors' own reader does; FileNotFoundError if it does not exist.
    """
    size = file.stat().st_size
    try:
        entries, start = read_header(file)
        found = {name: _stored(file, start, entry) for name, entry in entries.items() if name != METADATA}
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        raise UnreadableFile("is no safetensors file") from None
    if size < max((one.offset + one.extent for one in found.values()), default=0):
        raise UnreadableFile("is truncated")
    end = start
    for one in sorted(found.values(), key=lambda stored: (stored.offset, stored.extent)):
        if one.offset != end:
            raise UnreadableFile("is damaged: its header does not say what each of its bytes is")
        end += one.extent
    if end != size:
        raise UnreadableFile("is damaged: it is longer than its header says")
    return found


def read_metadata(file: Path) -> tuple[dict[str, str], int]:
    """The metadata of a safetensors file, and where its tensors' bytes begin.

    Raises UnreadableFile if it is not a safetensors file, FileNotFoundError if it does not exist.
    """
    try:
        header, start = read_header(file)
        said = header.get(METADATA) or {}
        return {str(key): str(value) for key, value in said.items()}, start
    except (ValueError, AttributeError, RecursionError):
        raise UnreadableFile("is no safetensors file") from None


def has_own_hash(file: Path) -> bool:
    """Whether the tensors' bytes have the hash that the header says (`sshs_model_hash`), or it says none."""
    metadata, start = read_metadata(file)
    said = said_hash(metadata)
    return not said or said == hash_of_tensors(file, start)


def said_hash(metadata: Mapping[str, str]) -> str | None:
    """The hex sha256 of the tensors' bytes that a header says, as sd-scripts writes it too; None if it says none."""
    said = metadata.get("sshs_model_hash")
    return None if said is None else said.lower().removeprefix("0x")


def hash_of_tensors(file: Path, start: int) -> str:
    """Hex sha256 of a file's bytes from `start` on, where its tensors begin."""
    with file.open("rb") as stream:
        stream.seek(start)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def split(data: bytes | memoryview) -> tuple[dict[str, Any], int]:
    """The header of a whole safetensors file in memory, and where the tensors' bytes begin.

    Raises ValueError if the data does not start with a header.
    """
    start = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    return parsed(bytes(data[LENGTH_BYTES:start])), start


def with_metadata(header: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """The first bytes of a file: a header's tensors and this metadata in order, padded as the format requires."""
    tensors = {name: entry for name, entry in header.items() if name != METADATA}
    ordered = {METADATA: dict(sorted(metadata.items())), **tensors}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _stored(file: Path, start: int, entry: Mapping[str, Any]) -> Stored:
    shape = tuple(int(side) for side in entry["shape"])
    first, last = entry["data_offsets"]
    dtype = str(entry["dtype"])
    if first < 0 or min(shape, default=0) < 0 or last - first != prod(shape) * ITEM_SIZES[dtype]:
        raise ValueError("the shape and the bytes differ")
    return Stored(file, start + int(first), dtype, shape, contiguous(shape))

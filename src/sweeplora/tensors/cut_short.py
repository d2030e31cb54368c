"""Whether a weights file was cut short, told by its content whatever it is called; no torch."""

from __future__ import annotations

from pathlib import Path
from zipfile import is_zipfile

from sweeplora.rundir.header import LENGTH_BYTES, METADATA, read_header

_ARCHIVE = b"PK\x03\x04"
_LONGEST_HEADER = 100_000_000
"""Bytes, as safetensors' own reader allows."""


def cut_short(file: Path) -> str | None:
    """How a .safetensors, or a .ckpt that torch.save wrote, is shorter than it should be; None if it is not.

    The text continues after the file's name. None too for a file of another format. Reads the header alone; raises
    OSError if that fails.
    """
    size = file.stat().st_size
    if size == 0:
        return "is empty"
    with file.open("rb") as stream:
        start = stream.read(LENGTH_BYTES + 1)
    if start.startswith(_ARCHIVE):
        return None if is_zipfile(file) else "is truncated: the index at the end of the archive is missing"
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) <= LENGTH_BYTES:
        return "is truncated: it ends before its header" if file.suffix.lower() == ".safetensors" else None
    if not start.endswith(b"{") or not 0 < length <= _LONGEST_HEADER:
        return None
    if LENGTH_BYTES + length > size:
        return "is truncated: it ends within its header, where its metadata is"
    missing = _end(file) - size
    return f"is truncated: {missing} of its {size + missing} bytes are missing" if missing > 0 else None


def _end(file: Path) -> int:
    """How many bytes a safetensors file has by its header; 0 if the header cannot be read."""
    try:
        header, start = read_header(file)
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != METADATA]
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        return 0
    return start + max(ends, default=0)

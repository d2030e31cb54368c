"""Append-only files of JSON lines, whose last line may be torn by a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class LineWriter:
    """Appends JSON objects to a file, each line in a single write; a torn last line is closed first."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("ab", buffering=0)
        if _torn(path):
            self._stream.write(b"\n")

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one object."""
        self._stream.write(json.dumps(line).encode() + b"\n")

    def sync(self) -> int:
        """Bring everything written to the disk, where it survives a power failure; returns the file's size in bytes."""
        os.fsync(self._stream.fileno())
        return os.fstat(self._stream.fileno()).st_size

    def close(self) -> None:
        """Close the file; everything written is already in it."""
        self._stream.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file's whole lines, in order; nothing if there is no file, and lines of another kind dropped."""
    for line in whole_lines(path):
        entry = read_line(line)
        if entry is not None:
            yield entry


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file without their ends, a torn last one left out; none if there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return data.split(b"\n")[:-1]


def read_line(line: bytes) -> dict[str, Any] | None:
    """The object of a line, None if it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _torn(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell() == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"

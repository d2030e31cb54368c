"""Append-only files of JSON lines, each with a checksum; a kill may tear the last one."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_CHECKSUM = "crc32"
_END = re.compile(rb', "crc32": "([0-9a-f]{8})"\}')
_END_BYTES = len(b', "crc32": "00000000"}')


class LineWriter:
    """Appends JSON objects to a file, each line in a single write; a torn last line is closed first.

    A line ends in the checksum of all its bytes before that: `, "crc32": "89abcdef"}`.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("ab", buffering=0)
        if _torn(path):
            self._stream.write(b"\n")

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one object, which is not empty."""
        text = json.dumps(line).encode()[:-1]
        self._stream.write(text + b', "%s": "%08x"}\n' % (_CHECKSUM.encode(), zlib.crc32(text)))

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
    """The object of a line without its checksum; None if it is none, or has changed since it was written."""
    text = intact(line)
    if text is None:
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def intact(line: bytes) -> bytes | None:
    """The text of a line's object without its checksum, None if they differ; a line without one is taken as it is."""
    end = _END.fullmatch(line[-_END_BYTES:])
    if end is None:
        return line
    text = line[:-_END_BYTES]
    return text + b"}" if zlib.crc32(text) == int(end[1], 16) else None


def _torn(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell() == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"

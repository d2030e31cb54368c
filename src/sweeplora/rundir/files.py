"""Atomic file writes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeplora.rundir.disk import disk_full, give_up_reserve, is_full_error

_SMALL_BYTES = 16 << 10
_DIGEST = "digest"
_DIGITS = 16


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically, so that a reader sees the old or the new content: temporary file, fsync, rename.

    Raises DiskFull if there is no space; for a small file the reserve is freed first.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        _write(path, [data])
    except OSError as error:
        if not is_full_error(error):
            raise
        if len(data) > _SMALL_BYTES or not give_up_reserve(path):
            raise disk_full(path, len(data)) from error
        write_whole(path, data)


def write_parts(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    """Write a file atomically from parts that follow one another; raises DiskFull and leaves the reserve alone."""
    try:
        _write(path, parts)
    except OSError as error:
        if not is_full_error(error):
            raise
        raise disk_full(path, sum(len(part) for part in parts)) from error


def _write(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically."""
    write_whole(path, json.dumps(content, indent=2, sort_keys=False) + "\n")


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with a digest of its content, by which `is_intact` knows that a byte changed."""
    return {**content, _DIGEST: _digest(content)}


def is_intact(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is as `sealed` left it; one without a digest counts as intact."""
    return _DIGEST not in content or content[_DIGEST] == _digest(content)


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in content.items() if key != _DIGEST}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file without its digest, or None where there is none or it is damaged."""
    content = read_json(path)
    if content is None or not is_intact(content):
        return None
    return {key: value for key, value in content.items() if key != _DIGEST}


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None if there is no file yet."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None

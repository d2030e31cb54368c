"""The header of a safetensors file: JSON behind its length, before the tensors' bytes; read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LENGTH_BYTES = 8
METADATA = "__metadata__"
"""The header's one key that names no tensor."""


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a file, and where its tensors' bytes begin.

    Raises ValueError or RecursionError if there is none or it does not fit into the file, OSError if it cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if not 0 < length <= size - LENGTH_BYTES:
            raise ValueError("the file does not begin with a header's length")
        return parsed(stream.read(length)), LENGTH_BYTES + length


def parsed(text: bytes | bytearray) -> dict[str, Any]:
    """A header from its text. Raises ValueError or RecursionError if it is none."""
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header

"""TOML files that a command names."""

from __future__ import annotations

import tomllib
from typing import Any

from sweeplora.convert.scripts.decode import decode
from sweeplora.errors import UserError


def toml(data: bytes, key: str, path: str) -> dict[str, Any]:
    """A TOML file's content. Raises UserError if it cannot be read."""
    try:
        return tomllib.loads(decode(data, path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(key, path, f"not TOML: {error}") from error

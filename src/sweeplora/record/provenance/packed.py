"""What a workspace's backup holds, as far as it can be read."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_CHUNK = 1 << 20


class PackedFile(NamedTuple):
    """A file of a backup; `mode` is 0o755 or 0o644."""

    content: bytes
    mode: int


def read_backup(
    archive: Path, wanted: Mapping[str, str], most_bytes: int | None = None
) -> tuple[dict[str, PackedFile], str | None]:
    """Those of the `wanted` files (path -> sha256) that a backup holds whole, and what is wrong with it, if anything.

    A damaged backup gives what is before the damage; larger files than `most_bytes` are passed over.
    """
    found: dict[str, PackedFile] = {}
    try:
        with gzip.open(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as packed:
            for entry in packed:
                asked = entry.name in wanted and (most_bytes is None or entry.size <= most_bytes)
                stream = packed.extractfile(entry) if asked and entry.isreg() else None
                content = stream.read() if stream is not None else b""
                if stream is not None and hashlib.sha256(content).hexdigest() == wanted[entry.name]:
                    found[entry.name] = PackedFile(content, 0o755 if entry.mode & 0o100 else 0o644)
            while unpacked.read(_CHUNK):  # the checksum is at the end
                pass
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        return found, f"the backup {archive} is damaged: {' '.join(str(error).split()) or type(error).__name__}"
    return found, None

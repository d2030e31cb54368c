"""Looks for files by their content hash in folders that the user names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeplora.content import sha256

_WEIGHTS = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"}


class ContentSearch:
    """The files below some folders, by size and sha256; a file is hashed only if one of its size is wanted."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._by_size: dict[int, list[Path]] | None = None
        self._hashes: dict[Path, str] = {}

    def find(self, digest: str, size: int | None) -> Path | None:
        """A file with this hex sha256; `size` in bytes, None if only weights files are to be compared."""
        return next((path for path in self._candidates(size) if self._hash(path) == digest), None)

    def weights(self) -> Iterator[Path]:
        """Every weights file."""
        return self._candidates(None)

    def _candidates(self, size: int | None) -> Iterator[Path]:
        if self._by_size is None:
            self._by_size = {}
            for folder in self.folders:
                for place, _, names in os.walk(folder, followlinks=True):
                    for name in names:
                        self._take(Path(place, name))
        if size is not None:
            yield from self._by_size.get(size, [])
            return
        for paths in self._by_size.values():
            yield from (path for path in paths if path.suffix.lower() in _WEIGHTS)

    def _take(self, path: Path) -> None:
        assert self._by_size is not None
        try:
            self._by_size.setdefault(path.stat().st_size, []).append(path)
        except OSError:  # a link to nothing
            return

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            try:
                self._hashes[path] = sha256(path)
            except OSError:
                self._hashes[path] = ""
        return self._hashes[path]


def holds(path: Path, digest: str, size: int | None) -> bool:
    """Whether a file is there with this content."""
    try:
        return path.is_file() and (size is None or path.stat().st_size == size) and sha256(path) == digest
    except OSError:
        return False


def put(source: Path, target: Path) -> None:
    """Copy a file to its place; a hard link where the file system allows one, since images are many."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)

"""Content hashes of files and folders, remembered by (path, size, modification time)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from sweeplora.rundir.files import write_whole

_CHUNK = 1 << 20


class ContentHashes:
    """sha256 of files, looked up before they are read again.

    `memo` is a JSON file below `runs/cache/`; an entry counts only while path, size and modification time
    (nanoseconds) are those it was made for. A lost or torn memo costs time, never truth.
    """

    def __init__(self, memo: Path) -> None:
        self._memo = memo
        self._known: dict[str, str] = _read_memo(memo)
        self._changed = False

    def file(self, path: Path) -> str:
        """Hex sha256 of one file."""
        status = path.stat()
        key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self._known:
            self._known[key] = _sha256(path)
            self._changed = True
        return self._known[key]

    def folder(self, path: Path) -> str:
        """Hex sha256 over the relative names and contents of every visible file below `path`."""
        names = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        return self.files(names, path)

    def files(self, paths: Iterable[Path], root: Path) -> str:
        """Hex sha256 over names relative to `root` and contents, in the order given."""
        digest = hashlib.sha256()
        for path in paths:
            digest.update(f"{path.relative_to(root).as_posix()}\0{self.file(path)}\n".encode())
        return digest.hexdigest()

    def all(self, paths: Iterable[Path]) -> str:
        """Hex sha256 over several files and folders, in the order given, wherever they lie."""
        parts = (self.folder(path) if path.is_dir() else self.file(path) for path in paths)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def save(self) -> None:
        """Write the memo back if anything was learned."""
        if self._changed:
            self._memo.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._memo, json.dumps(_read_memo(self._memo) | self._known, indent=0))
            self._changed = False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _read_memo(memo: Path) -> dict[str, str]:
    try:
        content = json.loads(memo.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

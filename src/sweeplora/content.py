"""Content hashes of files and folders, cached by path, size and modification time in memo files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sweeplora.rundir.files import write_whole

_CHUNK = 1 << 20
_FORMAT = 2
_KEEPS_MEMOS: ContextVar[bool] = ContextVar("_KEEPS_MEMOS", default=True)


class ContentHashes:
    """sha256 of files, looked up in a memo before a file is read again.

    `memo` is a JSON file below `runs/cache/`; an entry is valid only while path, size and modification time
    (nanoseconds) are unchanged. A lost or damaged memo only costs time.
    """

    def __init__(self, memo: Path) -> None:
        self._memo = memo
        self._known: dict[str, str] = read_memo(memo, _FORMAT)
        self._changed = False

    def file(self, path: Path) -> str:
        """Hex sha256 of one file."""
        status = path.stat()
        key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self._known:
            self._known[key] = sha256(path)
            self._changed = True
        return self._known[key]

    def folder(self, path: Path) -> str:
        """Hex sha256 over the relative names and contents of every visible file below `path`."""
        names = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        return self.files(names, path)

    def files(self, paths: Iterable[Path], root: Path) -> str:
        """Hex sha256 over names relative to `root` and contents, in the given order."""
        digest = hashlib.sha256()
        for path in paths:
            digest.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{self.file(path)}\n".encode())
        return digest.hexdigest()

    def all(self, paths: Iterable[Path]) -> str:
        """Hex sha256 over several files and folders, in the given order, independent of their location."""
        parts = (self.folder(path) if path.is_dir() else self.file(path) for path in paths)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def save(self) -> None:
        """Write the memo if it has new entries."""
        if self._changed:
            write_memo(self._memo, _FORMAT, read_memo(self._memo, _FORMAT) | self._known)
            self._changed = False


def read_memo(memo: Path, version: int) -> dict[str, Any]:
    """The entries of a memo file; empty if it is missing, damaged or of another version."""
    try:
        content = json.loads(memo.read_bytes())
        entries: dict[str, Any] = content["entries"]
        return entries if content["checksum"] == _checksum(version, entries) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def write_memo(memo: Path, version: int, entries: Mapping[str, Any]) -> None:
    """Write a memo file atomically, with a checksum over its version and entries; not within `keeping_no_memos`.

    Where this user may not write, such as in a cache of somebody else's, what was hashed is forgotten again too.
    """
    if not _KEEPS_MEMOS.get():
        return
    content = {"checksum": _checksum(version, entries), "entries": entries}
    with suppress(PermissionError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memo, json.dumps(content, indent=0))


@contextmanager
def keeping_no_memos() -> Iterator[None]:
    """Within the context, memo files are read and never written: what is hashed anew is forgotten again."""
    token = _KEEPS_MEMOS.set(False)
    try:
        yield
    finally:
        _KEEPS_MEMOS.reset(token)


def _checksum(version: int, entries: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([version, entries], sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Hex sha256 of one file, computed without a memo."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def state_of_files(paths: Iterable[Path]) -> str:
    """Text that is another one once any of the files has been written, replaced or removed; reads none of them."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            digest.update(os.fsencode(path) + f"\0{error.errno}\n".encode())
            continue
        seen = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(os.fsencode(path) + f"\0{seen}\n".encode())
    return digest.hexdigest()


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)

"""Full disks: which one is full, and how much space is needed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from sweeplora.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WORDS = ("No space left", "Disk quota exceeded", "File too large", "os error 28", "disk is full")
_LEAST_BYTES = 64 << 10
RESERVE = ".reserve"
"""A file that is given up when the disk is full, so that the records can still say how it ended."""


class DiskFull(UserError, OSError):
    """No space for a file; one line that names the disk and the space needed."""


def disk_full(path: Path, needed: int) -> DiskFull:
    """The error for a file of `needed` bytes at `path` that does not fit."""
    return DiskFull("disk", _mount_of(path), f"{full_line(path, needed)}; free it, then the same command continues")


def full_line(path: Path, needed: int) -> str:
    """A line on the free and needed space on the disk of `path`; `needed` in bytes."""
    free = shutil.disk_usage(_existing(path)).free
    return f"the disk {_mount_of(path)} is full: {_mib(free)} MiB are free, {_mib(needed)} MiB more are needed"


def is_full_error(error: OSError) -> bool:
    """Whether an error is about a full disk, a quota or a file size limit."""
    return error.errno in _FULL


def is_full(path: Path, message: str) -> bool:
    """Whether the error with this message at `path` means that the disk is full."""
    return any(words in message for words in _WORDS) or shutil.disk_usage(_existing(path)).free < _LEAST_BYTES


def keep_reserve(folder: Path) -> None:
    """Reserve bytes in a folder, so that its records can still be written on a full disk."""
    (folder / RESERVE).write_bytes(b"\0" * _LEAST_BYTES)


def give_up_reserve(path: Path) -> bool:
    """Free the reserve beside a file or beside its folder; returns whether there was one."""
    for folder in (path.parent, path.parent.parent):
        if (folder / RESERVE).exists():
            (folder / RESERVE).unlink(missing_ok=True)
            return True
    return False


def remove_leftovers(folder: Path) -> None:
    """Remove the half-written temporary files of ended processes below a folder."""
    for path in folder.rglob(".*.tmp"):
        pid = path.name.split(".")[-3]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)


def size_of(folder: Path) -> int:
    """Total size of all files below a folder, in bytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.1f}"


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _mount_of(path: Path) -> Path:
    here = _existing(path).resolve()
    return next(place for place in (here, *here.parents) if os.path.ismount(place))

"""The folder that a run is restored into: empty before, and as before if the restoring fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeplora.errors import UserError


def expect_empty(into: Path) -> None:
    """Raise UserError unless a folder is empty or not there yet."""
    try:
        taken = into.exists() and (not into.is_dir() or any(into.iterdir()))
    except OSError as error:
        raise _refusal(into, error) from None
    if taken:
        raise UserError("DIR", into, "is not empty; nothing is written over: give another folder")


@contextmanager
def made(into: Path) -> Iterator[None]:
    """Make a folder to write into within the context; if that fails it is taken away again, or emptied.

    Raises UserError for an OSError.
    """
    was_there = into.is_dir()
    new = [folder for folder in (into, *into.parents) if not folder.exists()]
    try:
        into.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        empty(into, remove=not was_there)
        for folder in new:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise _refusal(into, error) from error
        raise


def empty(folder: Path, remove: bool) -> None:
    """Take away what is in a folder, and the folder itself if asked to; links are not followed."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if remove:
        folder.rmdir()


def _refusal(into: Path, error: OSError) -> UserError:
    where = f": {error.filename}" if error.filename else ""
    return UserError("DIR", into, f"cannot be written ({error.strerror or error}{where}); give another folder")

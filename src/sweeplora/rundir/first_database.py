"""Atomic creation of a SQLite database, safe against concurrent creation and interruption."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

_BROKEN = "broken"


def make_database(path: Path, make: Callable[[Path], None], filled: str) -> Path | None:
    """Ensure a database at `path`: one process creates it in a temporary file and renames it, the others wait.

    `make` fills a new file with tables. `filled` names a table that has a row in every completely created database. A
    database without that row, left by an interrupted creation and thus empty, is moved aside; returns its new path, or
    None. Raises OSError if the folder is not writable.
    """
    if path.exists() and not _is_half_made(path, filled):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = None
    with path.with_name(f".{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in path.parent.glob(f".{path.name}.new*"):
            leftover.unlink()  # left by a killed creation: nobody else holds the lock
        if path.exists() and _is_half_made(path, filled):
            aside = path.replace(path.with_name(f"{path.name}.{_BROKEN}"))
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        if not path.exists():
            temporary = path.with_name(f".{path.name}.new")
            make(temporary)
            temporary.replace(path)
    return aside


def _is_half_made(path: Path, filled: str) -> bool:
    """Whether the creation of the database was interrupted; False if that cannot be determined."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=1.0)) as connection:
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
            if filled not in tables:
                # A foreign database, with tables of its own, is left alone.
                return not tables or "alembic_version" in tables or "studies" in tables or "experiments" in tables
            return connection.execute(f"select 1 from {filled} limit 1").fetchone() is None
    except (sqlite3.Error, UnicodeDecodeError):
        return False

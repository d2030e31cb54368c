"""Addresses of SQLite databases as SQLAlchemy reads them, for folders of any name."""

from __future__ import annotations

from pathlib import Path

_SQLITE = "sqlite:///"
# Optuna takes braces for a template's.
_ENCODED = {"%": "%25", "?": "%3F", "{": "%7B", "}": "%7D"}


def sqlite_uri(path: Path) -> str:
    """The address of a database file; SQLAlchemy decodes what is percent-encoded in it."""
    return _SQLITE + "".join(_ENCODED.get(character, character) for character in str(path))


def sqlite_path(uri: str) -> Path | None:
    """The file that an address as a person writes it, `sqlite:///PATH`, means; None for another store.

    The path is what the file system has, not percent-encoded. `?` begins options only after the last folder.
    """
    if not uri.startswith(_SQLITE):
        return None
    folders, slash, name = uri.removeprefix(_SQLITE).rpartition("/")
    return Path(folders + slash + name.partition("?")[0])


def store_uri(uri: str) -> str:
    """An address as a person writes it, as SQLAlchemy reads it."""
    path = sqlite_path(uri)
    if path is None:
        return uri
    options = uri.rpartition("/")[2].partition("?")[2]
    return sqlite_uri(path) + (f"?{options}" if options else "")

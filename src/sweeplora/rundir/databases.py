"""SQLAlchemy URLs of SQLite databases, for folders of any name."""

from __future__ import annotations

from pathlib import Path

_SQLITE = "sqlite:///"
# Optuna treats braces as a template.
_ENCODED = {"%": "%25", "?": "%3F", "{": "%7B", "}": "%7D"}


def sqlite_uri(path: Path) -> str:
    """The URL of a database file, percent-encoded, since SQLAlchemy decodes it."""
    return _SQLITE + "".join(_ENCODED.get(character, character) for character in str(path))


def sqlite_path(uri: str) -> Path | None:
    """The file of a user-written address `sqlite:///PATH`; None for any other store.

    The path is as in the file system, not percent-encoded. `?` begins options only after the last folder.
    """
    if not uri.startswith(_SQLITE):
        return None
    folders, slash, name = uri.removeprefix(_SQLITE).rpartition("/")
    return Path(folders + slash + name.partition("?")[0])


def store_uri(uri: str) -> str:
    """A user-written address as an SQLAlchemy URL."""
    path = sqlite_path(uri)
    if path is None:
        return uri
    options = uri.rpartition("/")[2].partition("?")[2]
    return sqlite_uri(path) + (f"?{options}" if options else "")

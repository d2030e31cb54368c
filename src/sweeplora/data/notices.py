"""Lines about a data set that works but is worth a look."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 5


def shown(name: str) -> str:
    """A file's name in a message: characters that cannot be printed are escaped, so that it stays one line."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)


def some(names: Sequence[str]) -> str:
    """The first five names and how many more there are."""
    listed = ", ".join(shown(name) for name in names[:_SHOWN])
    return f"{listed} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else listed


def counted(names: Sequence[str], one: str, several: str, rest: str = "") -> list[str]:
    """A line such as "3 files were left out: a, b, c", in the singular for one name; no line without names."""
    if not names:
        return []
    return [f"{len(names)} {one if len(names) == 1 else several}: {some(names)}{rest}"]

"""What became of a flag, and why: a key's value, no effect, or not supported in sweeplora."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

Fate = Literal["became", "default", "no effect", "aside", "missing", "unknown"]
"""What an entry says of its flag.

became: the key and value it turned into. default: not given, and sd-scripts' own value is written, since
it counts. no effect: there is none, there or here. aside: not supported here, and nothing that is learned depends on
it. missing: not supported here, although it changes what is learned. unknown: sd-scripts has no such flag.
"""


class Entry(NamedTuple):
    """What became of one flag.

    `key` is empty if the flag became no value. A key without a dot selects a choice of a group; a leading `+` adds a
    key that the choice does not have.
    """

    flag: str
    fate: Fate
    key: str = ""
    value: Any = None
    note: str = ""


def became(flag: str, key: str, value: Any, note: str = "") -> Entry:
    """The flag was given and became that value."""
    return Entry(flag, "became", key, value, note)


def no_effect(flag: str, note: str) -> Entry:
    """The flag was given and has no effect."""
    return Entry(flag, "no effect", note=note)


def missing(flag: str, note: str) -> Entry:
    """The flag was given, changes the training result, and cannot be converted."""
    return Entry(flag, "missing", note=note)


def aside(flag: str, note: str) -> Entry:
    """The flag was given and is not supported in sweeplora; the training result does not depend on it."""
    return Entry(flag, "aside", note=note)


def settings(entries: Iterable[Entry]) -> dict[str, Any]:
    """Key -> value of everything that is written; later entries win."""
    return {entry.key: entry.value for entry in entries if entry.key}

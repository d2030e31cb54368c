"""What became of a flag: the value of a key, nothing, or nothing that is possible here; and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

Fate = Literal["became", "default", "idle", "aside", "missing", "unknown"]
"""What an entry says of its flag.

became: the key and value it turned into. default: not given, and sd-scripts' own value is written, since
it counts. idle: has no effect, there or here. aside: not supported here, and nothing that is learned depends on
it. missing: not supported here, although it changes what is learned. unknown: sd-scripts has no such flag.
"""


class Entry(NamedTuple):
    """One flag's fate.

    `key` is empty where it became no value of its own. A key without a dot picks a choice of a group, `+` in front
    of one adds what its choice does not have.
    """

    flag: str
    fate: Fate
    key: str = ""
    value: Any = None
    note: str = ""


def became(flag: str, key: str, value: Any, note: str = "") -> Entry:
    """The flag was given and is now that value."""
    return Entry(flag, "became", key, value, note)


def idle(flag: str, note: str) -> Entry:
    """The flag was given and does nothing."""
    return Entry(flag, "idle", note=note)


def missing(flag: str, note: str) -> Entry:
    """The flag was given, changes what is learned, and cannot be taken over."""
    return Entry(flag, "missing", note=note)


def aside(flag: str, note: str) -> Entry:
    """The flag was given and is not supported here; what is learned does not depend on it."""
    return Entry(flag, "aside", note=note)


def settings(entries: Iterable[Entry]) -> dict[str, Any]:
    """Key -> value of everything that is written, later entries winning."""
    return {entry.key: entry.value for entry in entries if entry.key}

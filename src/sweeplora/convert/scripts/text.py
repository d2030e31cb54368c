"""Text of a script whose unknown parts are named, and the commands made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweeplora.errors import UserError


@dataclass(frozen=True)
class Unknown:
    """A part of a script that only running it can tell: as it is written, why, and its line (from 1)."""

    name: str
    why: str
    line: int


@dataclass(frozen=True)
class Text:
    """A text; its unknown parts stand in it as they are written.

    `outside`: the variables of the environment, rather than of the script, that it was made of.
    """

    text: str = ""
    unknowns: tuple[Unknown, ...] = ()
    outside: tuple[str, ...] = ()

    def __add__(self, other: Text) -> Text:
        unknowns = tuple(dict.fromkeys((*self.unknowns, *other.unknowns)))
        return Text(self.text + other.text, unknowns, tuple(dict.fromkeys((*self.outside, *other.outside))))


def join(texts: Iterable[Text], separator: str = "") -> Text:
    """The texts as one, with `separator` between them."""
    joined = Text()
    for index, text in enumerate(texts):
        joined = joined + Text(separator) + text if index else text
    return joined


@dataclass(frozen=True)
class ScriptCommand:
    """One command of a script.

    `folder` is where it runs: what the script's `cd`s lead to from where it is started (or an absolute path).
    `cut` is an unquoted operator in the middle of a word that ends the command. `files`: what the script wrote before.
    """

    words: tuple[Text, ...]
    line: int
    folder: str = ""
    cut: str = ""
    files: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class Script:
    """A script's text, the name it has in messages, its file if it has one, and the environment it runs in."""

    text: str
    name: str
    file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def error(self, line: int, value: str, mend: str) -> UserError:
        """The error that names a place in the script."""
        return UserError(f"{self.name} line {line}", value if len(value) <= 80 else f"{value[:77]}...", mend)

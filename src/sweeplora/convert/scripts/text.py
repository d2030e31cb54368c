"""Script text with its unknown parts named, and commands made of such text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweeplora.errors import UserError


@dataclass(frozen=True)
class Unknown:
    """A part of a script that is only known at run time: its source text, the reason, and its line (from 1)."""

    name: str
    why: str
    line: int


@dataclass(frozen=True)
class Text:
    """A text; its unknown parts appear as written in the script.

    `outside`: the environment variables, as opposed to the script's, that it was made of.
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

    `folder` is where it runs: where the script's `cd`s lead, relative to where it is started (or an absolute path).
    `cut` is an unquoted operator in the middle of a word that ends the command. `files`: what the script wrote before.
    """

    words: tuple[Text, ...]
    line: int
    folder: str = ""
    cut: str = ""
    files: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class Script:
    """A script's text, its name in messages, its file if it has one, and the environment it runs in."""

    text: str
    name: str
    file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def error(self, line: int, value: str, mend: str) -> UserError:
        """The error that names a place in the script."""
        return UserError(f"{self.name} line {line}", value if len(value) <= 80 else f"{value[:77]}...", mend)

"""Unknown values as single characters in a batch file's text, which is put together before it is read."""

from __future__ import annotations

from sweeplora.convert.scripts.text import Text, Unknown

_FIRST = 0xF0000
OUTSIDE = chr(0xFFFFD)
"""Stands in front of a value of the environment."""


class Marks:
    """The unknown values so far, and the character that stands for each."""

    def __init__(self) -> None:
        self._unknowns: list[Unknown] = []

    def mark(self, unknown: Unknown) -> str:
        """A character that stands for an unknown value."""
        if unknown in self._unknowns:
            return chr(_FIRST + self._unknowns.index(unknown))
        self._unknowns.append(unknown)
        return chr(_FIRST + len(self._unknowns) - 1)

    def first(self, text: str) -> Unknown | None:
        """The first unknown value in a text."""
        return next((found for char in text if (found := self._get(char)) is not None), None)

    def text(self, text: str) -> Text:
        """The text with names in place of the characters."""
        unknowns = [found for char in text if (found := self._get(char)) is not None]
        named = [found.name if (found := self._get(char)) else char for char in text if char != OUTSIDE]
        return Text("".join(named), tuple(dict.fromkeys(unknowns)), ("the environment",) if OUTSIDE in text else ())

    def _get(self, char: str) -> Unknown | None:
        index = ord(char) - _FIRST
        return self._unknowns[index] if 0 <= index < len(self._unknowns) else None

"""A place in a PowerShell script's text."""

from __future__ import annotations

import re
from typing import NoReturn

from sweeplora.convert.scripts.text import Script

_CLOSING = {"(": ")", "{": "}", "[": "]"}


class Cursor:
    """The text and the place in it."""

    def __init__(self, script: Script, text: str, first_line: int = 1) -> None:
        self.script = script
        self.text = text
        self.at = 0
        self._first_line = first_line

    @property
    def done(self) -> bool:
        """Whether the text is at its end."""
        return self.at >= len(self.text)

    @property
    def line(self) -> int:
        """The line of this place, from 1."""
        return self._first_line + self.text.count("\n", 0, self.at)

    def peek(self, length: int = 1) -> str:
        """The next characters."""
        return self.text[self.at : self.at + length]

    def match(self, pattern: str) -> re.Match[str] | None:
        """What matches here, in any case; gone past where it does."""
        found = re.compile(pattern, re.IGNORECASE).match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def skip(self, lines: bool = False) -> None:
        """Go past blanks, comments and continued lines; past ends of lines only where asked."""
        while not self.done:
            char = self.peek()
            if char in " \t" or (lines and char in "\n;"):
                self.at += 1
            elif self.peek(2) == "`\n":
                self.at += 2
            elif char == "#" and (self.at == 0 or self.text[self.at - 1] in " \t\n;{}()"):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.peek(2) == "<#":
                end = self.text.find("#>", self.at)
                self.at = len(self.text) if end < 0 else end + 2
            else:
                return

    def brackets(self) -> str:
        """What stands in the brackets that open here, without them; strings and inner brackets are gone past."""
        start, line, opening = self.at, self.line, self.peek()
        closing, depth = _CLOSING[opening], 0
        while not self.done:
            char = self.peek()
            if char in "\"'":
                self.string()
                continue
            if self.peek(2) in ('@"', "@'"):
                self.here_string()
                continue
            if char == "`":
                self.at += 2
                continue
            if char == "#" and self.text[self.at - 1 : self.at] in (" ", "\t", "\n", "{", "("):
                self.skip()
                continue
            depth += (char == opening) - (char == closing)
            self.at += 1
            if depth == 0:
                return self.text[start + 1 : self.at - 1]
        return self.fail(self.text[start : start + 30].partition("\n")[0], f"a bracket {opening} is never closed", line)

    def string(self) -> tuple[str, str]:
        """The string that begins here: its quotation mark, and what is written in it."""
        quote, line, start = self.peek(), self.line, self.at + 1
        self.at = start
        while not self.done:
            if (quote == '"' and self.peek() == "`") or self.peek(2) == quote * 2:
                self.at += 2
            elif quote == '"' and self.peek(2) == "$(":
                self.at += 1
                self.brackets()
            elif self.peek() == quote:
                self.at += 1
                return quote, self.text[start : self.at - 1]
            else:
                self.at += 1
        return self.fail(self.text[start : start + 30], f"a quotation mark {quote} is never closed", line)

    def here_string(self) -> tuple[str, str]:
        """`@"` ... `"@`."""
        quote, line = self.peek(2)[1], self.line
        end = self.text.find(f"\n{quote}@", self.at)
        begin = self.text.find("\n", self.at)
        if end < 0 or begin < 0:
            return self.fail(f"@{quote}", "is never closed", line)
        text = self.text[begin + 1 : max(end, begin + 1)]
        self.at = end + 3
        return quote, text

    def skip_statement(self) -> None:
        """Go past the rest of a statement."""
        while not self.done and self.peek() not in "\n;":
            self.skip()
            char = self.peek()
            if char in "({[" and char:
                self.brackets()
            elif char in ("'", '"'):
                self.string()
            elif char and char not in "\n;":
                self.at += 1

    def braces(self) -> str:
        """What stands in the block that opens here."""
        self.skip(lines=True)
        if self.peek() != "{":
            self.fail(self.peek(20).partition("\n")[0], "a block { is missing here")
        return self.brackets()

    def condition(self) -> str:
        """What stands in the brackets of a condition."""
        self.skip(lines=True)
        if self.peek() != "(":
            self.fail(self.peek(20).partition("\n")[0], "a condition in brackets is missing here")
        return self.brackets()

    def fail(self, value: str, mend: str, line: int | None = None) -> NoReturn:
        """Raise UserError about this place."""
        raise self.script.error(self.line if line is None else line, value, mend)

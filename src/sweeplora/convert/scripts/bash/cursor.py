"""A place in a script's text."""

from __future__ import annotations

from bisect import bisect_right
from typing import NoReturn

from sweeplora.convert.scripts.bash.syntax import Redirection
from sweeplora.convert.scripts.text import Script


class Cursor:
    """The text, the place in it, and the here-documents whose bodies begin after this line."""

    def __init__(self, script: Script, text: str | None = None, first_line: int = 1) -> None:
        self.script = script
        self.text = script.text if text is None else text
        self.at = 0
        self.pending: list[tuple[Redirection, str, bool]] = []
        self._first_line = first_line
        self._starts = [0, *(index + 1 for index, char in enumerate(self.text) if char == "\n")]

    @property
    def done(self) -> bool:
        """Whether the text is at its end."""
        return self.at >= len(self.text)

    @property
    def line(self) -> int:
        """The line of this place, from 1."""
        return bisect_right(self._starts, self.at) - 1 + self._first_line

    def peek(self, length: int = 1) -> str:
        """The next characters."""
        return self.text[self.at : self.at + length]

    def starts(self, *texts: str) -> str:
        """The first of these texts that stands here, or nothing."""
        return next((text for text in texts if self.text.startswith(text, self.at)), "")

    def skip_blanks(self) -> None:
        """Go past blanks, continued lines and a comment; not past the end of the line."""
        while not self.done:
            if self.peek() in " \t":
                self.at += 1
            elif self.starts("\\\n"):
                self.at += 2
            elif self.peek() == "\\" and self.at + 1 == len(self.text):
                self.at += 1
            elif self.peek() == "#" and (self.at == 0 or self.text[self.at - 1] in " \t\n;&|()"):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def skip_lines(self) -> None:
        """Go past blanks, comments and ends of lines."""
        self.skip_blanks()
        while self.peek() == "\n":
            self.newline()
            self.skip_blanks()

    def newline(self) -> None:
        """Go past the end of the line and the here-documents that begin there."""
        self.at += 1
        for redirection, delimiter, strips in self.pending:
            redirection.body = self._here_document(delimiter, strips)
        self.pending.clear()

    def fail(self, value: str, mend: str, line: int | None = None) -> NoReturn:
        """Raise UserError about this place."""
        raise self.script.error(self.line if line is None else line, value, mend)

    def _here_document(self, delimiter: str, strips: bool) -> str:
        lines: list[str] = []
        while not self.done:
            end = self.text.find("\n", self.at)
            end = len(self.text) if end < 0 else end
            line = self.text[self.at : end]
            self.at = min(end + 1, len(self.text))
            line = line.lstrip("\t") if strips else line
            if line == delimiter:
                return "".join(lines)
            lines.append(f"{line}\n")
        self.fail(f"<<{delimiter}", "the here-document is never closed")

"""The grammar of batch files, whose percent signs are already replaced: commands, blocks, `if`, `for`."""

from __future__ import annotations

import re
from dataclasses import dataclass


class Incomplete(Exception):
    """A block is not closed yet: the next line belongs to it."""


@dataclass(frozen=True)
class Command:
    """A command's text up to its operator. `cut`: an unquoted operator in the middle of a word."""

    text: str
    line: int
    cut: str = ""
    after: str = ""


@dataclass(frozen=True)
class Block:
    """`( ... )`."""

    nodes: tuple[Node, ...]
    line: int
    after: str = ""


@dataclass(frozen=True)
class If:
    """`if [not] condition body [else body]`; `operator` is ==, EQU ... or exist, defined, errorlevel."""

    negated: bool
    ignores_case: bool
    left: str
    operator: str
    right: str
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]
    line: int
    after: str = ""


@dataclass(frozen=True)
class For:
    """`for %x in (...) do body`, as it is written."""

    variable: str
    body: tuple[Node, ...]
    line: int
    after: str = ""


Node = Command | Block | If | For

_WORD = re.compile(r"[A-Za-z]+")
_OPERATOR = re.compile(r"==|(?:equ|neq|lss|leq|gtr|geq)(?=\s)", re.IGNORECASE)


class Parser:
    """Reads statements of one logical line, or of all lines of a block; `line` is where the text begins."""

    def __init__(self, text: str, line: int) -> None:
        self._text = text
        self._at = 0
        self._line = line

    def statements(self) -> tuple[Node, ...]:
        """All statements. Raises Incomplete where a block is still open."""
        return self._list(closes=False)

    def _list(self, closes: bool) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while True:
            self._skip(" \t\n&|@;,=")
            if self._at >= len(self._text):
                if closes:
                    raise Incomplete
                return tuple(nodes)
            if closes and self._text[self._at] == ")":
                self._at += 1
                return tuple(nodes)
            nodes += self._command(closes)

    def _rest_of_line(self, closes: bool) -> tuple[Node, ...]:
        """What an `if` or `for` rules: all commands up to the end of the line, or one block."""
        nodes: list[Node] = []
        while True:
            self._skip(" \t&|@")
            if self._at >= len(self._text) or self._text[self._at] == "\n":
                return tuple(nodes)
            if closes and self._text[self._at] == ")":
                return tuple(nodes)
            block = self._text[self._at] == "("
            nodes += self._command(closes)
            if block:
                return tuple(nodes)

    def _skip(self, characters: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in characters:
            self._at += 1

    def _here(self) -> int:
        return self._line + self._text.count("\n", 0, self._at)

    def _command(self, closes: bool) -> list[Node]:
        line = self._here()
        if self._text[self._at] == "(":
            self._at += 1
            return [Block(self._list(closes=True), line, self._after())]
        if self._text[self._at] == ":":
            self._to_end_of_line()
            return []
        found = _WORD.match(self._text, self._at)
        word = found[0].lower() if found else ""
        following = self._text[found.end() :][:1] if found else ""
        if word == "rem" and (not following or following in " \t\n"):
            self._to_end_of_line()
            return []
        if word == "if" and following in (" ", "\t", "("):
            return [self._if(closes, line)]
        if word == "for" and following in (" ", "\t"):
            return [self._for(closes, line)]
        text, cut = self._until_operator(closes)
        return [Command(text, line, cut, self._after())]

    def _after(self) -> str:
        """The operator behind a command."""
        rest = self._text[self._at :].lstrip(" \t")
        return next((sign for sign in ("&&", "||", "&", "|") if rest.startswith(sign)), "")

    def _to_end_of_line(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _until_operator(self, closes: bool) -> tuple[str, str]:
        start, quoted = self._at, False
        while self._at < len(self._text) and self._text[self._at] != "\n":
            char = self._text[self._at]
            if char == '"':
                quoted = not quoted
            elif char == "^" and not quoted:
                self._at += 1
            elif not quoted and (
                char in "|" or (char == "&" and not self._redirects(start)) or (closes and char == ")")
            ):
                break
            self._at += 1
        self._at = min(self._at, len(self._text))
        text = self._text[start : self._at]
        sign = self._text[self._at : self._at + 1]
        after = self._text[self._at + 1 : self._at + 2]
        torn = sign in ("&", "|") and text[-1:].strip() and after.strip() and after not in "&|"
        return text, sign if torn else ""

    def _redirects(self, start: int) -> bool:
        """Whether this `&` belongs to `2>&1`."""
        return self._at > start and self._text[self._at - 1] in "<>"

    def _operand(self) -> str:
        self._skip(" \t")
        start, quoted = self._at, False
        while self._at < len(self._text):
            char = self._text[self._at]
            quoted ^= char == '"'
            if not quoted and (char in " \t\n" or self._text.startswith("==", self._at)):
                break
            self._at += 1
        return self._text[start : self._at]

    def _if(self, closes: bool, line: int) -> Node:
        self._at += 2
        negated = ignores = False
        word = self._operand()
        while word.lower() in ("/i", "not"):
            negated ^= word.lower() == "not"
            ignores = ignores or word.lower() == "/i"
            word = self._operand()
        if word.lower() in ("exist", "defined", "errorlevel", "cmdextversion"):
            left, operator, right = self._operand(), word.lower(), ""
        else:
            self._skip(" \t")
            found = _OPERATOR.match(self._text, self._at)
            self._at = found.end() if found else self._at
            left, operator = word, found[0].lower() if found else "?"
            right = self._operand() if found else ""
        self._skip(" \t")
        if self._at < len(self._text) and self._text[self._at] == "(":
            self._at += 1
            body = self._list(closes=True)
            otherwise = self._else(closes)
        else:
            body, otherwise = self._rest_of_line(closes), ()
        return If(negated, ignores, left, operator, right, body, otherwise, line, self._after())

    def _else(self, closes: bool) -> tuple[Node, ...]:
        found = re.compile(r"[ \t]*else\b", re.IGNORECASE).match(self._text, self._at)
        if not found:
            return ()
        self._at = found.end()
        return self._rest_of_line(closes)

    def _for(self, closes: bool, line: int) -> Node:
        found = re.compile(r"for\s+(?:/\w\s+)?(?:\"[^\"]*\"\s+)?(?:[^%\s]\S*\s+)?%(\w)\s+in\s*\(", re.IGNORECASE).match(
            self._text, self._at
        )
        if not found:
            text, cut = self._until_operator(closes)
            return Command(text, line, cut)
        self._at = found.end()
        end = self._closing()
        self._at = end + 1
        do = re.compile(r"\s*do\b", re.IGNORECASE).match(self._text, self._at)
        if not do:
            raise Incomplete
        self._at = do.end()
        return For(found[1], self._rest_of_line(closes), line, self._after())

    def _closing(self) -> int:
        quoted = False
        for at in range(self._at, len(self._text)):
            quoted ^= self._text[at] in "\"'"
            if self._text[at] == ")" and not quoted:
                return at
        raise Incomplete

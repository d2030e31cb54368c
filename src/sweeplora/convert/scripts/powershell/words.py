"""The words of a PowerShell command."""

from __future__ import annotations

import re

from sweeplora.convert.scripts.powershell.cursor import Cursor
from sweeplora.convert.scripts.powershell.expressions import Expressions
from sweeplora.convert.scripts.powershell.scope import Scope
from sweeplora.convert.scripts.powershell.values import Value, as_text
from sweeplora.convert.scripts.text import Text, Unknown


class Words:
    """Reads the words of commands, with the values of what stands in them."""

    def __init__(self, expressions: Expressions) -> None:
        self.expressions = expressions

    def words(self, cursor: Cursor, scope: Scope) -> list[Text]:
        """The words of a command up to its end; a list is as many words as it has elements."""
        words: list[Text] = []
        while True:
            cursor.skip()
            if cursor.done or cursor.peek() in "\n;|}" or cursor.peek(2) == "&&":
                return words
            if cursor.match(r"[*\d]?>>?(&\d)?[ \t]*"):
                cursor.match(r"[^\s;|]+")
                continue
            if cursor.match(r"--%"):
                end = cursor.text.find("\n", cursor.at)
                rest = cursor.text[cursor.at : len(cursor.text) if end < 0 else end]
                cursor.at += len(rest)
                words += [Text(word) for word in rest.split()]
                continue
            before = cursor.at
            words += self._word(cursor, scope)
            if cursor.at == before:
                cursor.at += 1

    def _word(self, cursor: Cursor, scope: Scope) -> list[Text]:
        line = cursor.line
        if splat := cursor.match(r"@(\w+)"):
            value = self.expressions.variable(splat[1], splat[0], scope, line)
            return [as_text(one) for one in (value if isinstance(value, tuple) else (value,))]
        if re.match(r"\$|\(|@\(", cursor.text[cursor.at : cursor.at + 2]):
            start = cursor.at
            value = self.expressions.postfix(cursor, scope)
            if cursor.done or cursor.peek() in " \t\n;|)}":
                return [as_text(one) for one in value] if isinstance(value, tuple) else _one(value)
            cursor.at = start
        return [self._generic(cursor, scope)]

    def _generic(self, cursor: Cursor, scope: Scope) -> Text:
        """A word of plain characters, strings and variables."""
        made, start = Text(), cursor.at
        while not cursor.done and cursor.peek() not in " \t\n;|}":
            line, char = cursor.line, cursor.peek()
            if char in "\"'":
                made += self.expressions.string(*cursor.string(), scope, line)
            elif cursor.peek(2) == "$(":
                made += as_text(self.expressions.postfix(cursor, scope))
            elif found := cursor.match(r"\$(?:\{([^}]+)\}|((?:env:)?\w+))"):
                made += as_text(self.expressions.variable(found[1] or found[2], found[0], scope, line))
            elif char == "`":
                made += Text(cursor.peek(2)[1:])
                cursor.at += 2
            elif char in "(){":
                cursor.fail(cursor.text[start : cursor.at + 10].split("\n")[0], "an unquoted bracket; use quotes")
            elif char == "," and cursor.text[start] != "-":
                mend = "is a list because of its unquoted comma; put the word into quotes"
                made += Text(",", (Unknown(cursor.text[start : cursor.at + 8].split("\n")[0], mend, line),))
                cursor.at += 1
            else:
                made += Text(char)
                cursor.at += 1
        return made


def _one(value: Value) -> list[Text]:
    return [] if value is None else [as_text(value)]

"""What a PowerShell script assigns to its variables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sweeplora.convert.scripts.powershell.cursor import Cursor
from sweeplora.convert.scripts.powershell.expressions import Expressions
from sweeplora.convert.scripts.powershell.scope import Scope
from sweeplora.convert.scripts.powershell.values import Value, as_text, open_on, truth, unknown
from sweeplora.convert.scripts.text import Text


class Assignments:
    """Carries out assignments."""

    def __init__(self, expressions: Expressions) -> None:
        self.expressions = expressions

    def assign(self, name: str, sign: str, cursor: Cursor, scope: Scope) -> None:
        """`$name = ...`, up to the end of the statement."""
        cursor.skip(lines=False)
        line, start = cursor.line, cursor.at
        if sign == "=" and cursor.match(r"if(?=[\s(])"):
            scope.variables[name] = self._chosen(cursor, scope, line)
            return
        if cursor.match(r"[A-Za-z&.]"):
            cursor.skip_statement()
            written = cursor.text[start : cursor.at].strip()[:50]
            scope.lose(name, f"is the output of `{written.partition(chr(10))[0]}`", line)
            return
        value = self.expressions.expression(cursor, scope)
        cursor.skip()
        if not cursor.done and cursor.peek() not in "\n;}":
            cursor.skip_statement()
            value = unknown(f"${name}", "is computed, and only running can tell it", line)
        if sign == "+=":
            before = scope.variables.get(name)
            value = _sum(before, value)
        elif sign != "=":
            value = unknown(f"${name}", "is computed, and only running can tell it", line)
        scope.variables[name] = value

    def _chosen(self, cursor: Cursor, scope: Scope, line: int) -> Value:
        """The value of `if (...) { value } else { value }`."""
        chosen: Value = None
        asked, decided = "", False
        while True:
            condition = cursor.condition()
            value = self.expressions.whole(condition, scope, line) if not is_command(condition) else None
            on = f"`{condition.strip()[:40]}`" if is_command(condition) else open_on(value)
            body = cursor.braces()
            asked = asked or ("" if decided else on)
            if not decided and not on and truth(value):
                chosen, decided = self.expressions.whole(body, scope, line), True
            if cursor.match(r"\s*elseif\b"):
                continue
            if cursor.match(r"\s*else\b"):
                otherwise = cursor.braces()
                chosen = chosen if decided else self.expressions.whole(otherwise, scope, line)
            return unknown(asked, f"decides the `if` on line {line} and is not known", line) if asked else chosen

    def add(self, name: str, added: Sequence[Value], scope: Scope, line: int) -> None:
        """`$name.Add(...)`."""
        before = scope.variables.get(name, ())
        if not isinstance(before, tuple):
            scope.lose(name, "is added to but is not a list", line)
            return
        scope.variables[name] = (*before, *added)


def _sum(before: Value, value: Value) -> Value:
    if isinstance(before, tuple):
        return (*before, *(value if isinstance(value, tuple) else (value,)))
    if isinstance(before, Text):
        return before + as_text(value)
    if before is None:
        return value
    if isinstance(value, int | float):
        return before + value
    return unknown("+=", "is computed, and only running can tell it", 0)


def is_command(condition: str) -> bool:
    """Whether a condition runs a command, so that only running can tell it."""
    return re.match(r"\s*(-not\s*|!\s*)?\(?\s*[A-Za-z][\w]*(-\w+)?[\s(]", condition) is not None

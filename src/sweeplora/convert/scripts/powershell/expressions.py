"""PowerShell's expressions: strings with variables in them, lists, comparisons, a few methods."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from sweeplora.convert.scripts.powershell.cursor import Cursor
from sweeplora.convert.scripts.powershell.scope import Scope
from sweeplora.convert.scripts.powershell.values import (
    Value,
    as_text,
    compare,
    number_of,
    open_on,
    truth,
    unknown,
)
from sweeplora.convert.scripts.text import Script, Text

_COMPARISON = r"-([ci]?(?:eq|ne|gt|ge|lt|le|like|notlike|match|notmatch|contains|notcontains|in|notin))\b"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_COMPUTED = "is computed, and only running can tell it; write the value"
_VARIABLE = r"\$(?:\{([^}]+)\}|((?:env:|script:|global:|local:)?\w+)|([$?^]))"


class Expressions:
    """Evaluates expressions of one script."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def whole(self, text: str, scope: Scope, line: int) -> Value:
        """The value of a text that is one expression; unknown where it is more than that."""
        cursor = Cursor(self.script, text, line)
        cursor.skip(lines=True)
        if cursor.done:
            return None
        value = self.expression(cursor, scope)
        cursor.skip(lines=True)
        return value if cursor.done else unknown(text.strip()[:60], _COMPUTED, line)

    def expression(self, cursor: Cursor, scope: Scope) -> Value:
        """`-and`, `-or` and all that binds more tightly."""
        value = self._compared(cursor, scope)
        while True:
            cursor.skip()
            found = cursor.match(r"-(and|or)\b")
            if not found:
                return value
            value = _both(value, found[1].lower(), self._compared(cursor, scope))

    def _compared(self, cursor: Cursor, scope: Scope) -> Value:
        left = self._sum(cursor, scope)
        while True:
            cursor.skip()
            line = cursor.line
            found = cursor.match(_COMPARISON)
            if not found:
                return left
            right = self._sum(cursor, scope)
            on = open_on(left) or open_on(right)
            verdict = None if on else compare(left, found[1].lower(), right)
            left = unknown(on or found[0], "is not known", line) if verdict is None else verdict

    def _sum(self, cursor: Cursor, scope: Scope) -> Value:
        value = self._list(cursor, scope)
        while True:
            cursor.skip()
            line = cursor.line
            found = cursor.match(r"([+*/%]|-(?![a-z-]))(?!=)")
            if not found:
                return value
            value = _computed(value, found[1], self._list(cursor, scope), line)

    def _list(self, cursor: Cursor, scope: Scope) -> Value:
        values = [self.operand(cursor, scope)]
        while True:
            cursor.skip()
            if cursor.peek() != ",":
                return values[0] if len(values) == 1 else tuple(values)
            cursor.at += 1
            cursor.skip(lines=True)
            values.append(self.operand(cursor, scope))

    def operand(self, cursor: Cursor, scope: Scope) -> Value:
        """A value with the signs in front of it."""
        cursor.skip()
        line = cursor.line
        if cursor.match(r"-not\b|!"):
            value = self.operand(cursor, scope)
            on = open_on(value)
            return unknown(on, "is not known", line) if on else not truth(value)
        if cursor.match(r"-(?=[\d$(.])"):
            number = number_of(self.operand(cursor, scope))
            return unknown("-", _COMPUTED, line) if number is None else -number
        cast = cursor.match(r"\[[\w.\[\]]+\](?!::)")
        if cast:
            return _cast(cast[0], self.operand(cursor, scope), line)
        return self.postfix(cursor, scope)

    def postfix(self, cursor: Cursor, scope: Scope) -> Value:
        """A value with its members, methods and indices."""
        start, line = cursor.at, cursor.line
        value = self._primary(cursor, scope)
        while not cursor.done:
            member = cursor.match(r"\.(\w+)(?=\()|\.(\w+)")
            if member and member[1]:
                name, inner = member[1].lower(), cursor.brackets()
                value = self._method(value, name, self.whole(inner, scope, line), line)
            elif member:
                value = _member(value, member[2].lower(), cursor.text[start : cursor.at], line)
            elif cursor.peek() == "[":
                index = number_of(self.whole(cursor.brackets(), scope, line))
                value = _element(value, index, cursor.text[start : cursor.at], line)
            else:
                return value
        return value

    def _primary(self, cursor: Cursor, scope: Scope) -> Value:
        start, line, char = cursor.at, cursor.line, cursor.peek()
        if char in ("'", '"'):
            return self.string(*cursor.string(), scope, line)
        if cursor.peek(2) in ('@"', "@'"):
            return self.string(*cursor.here_string(), scope, line)
        if cursor.peek(2) in ("@(", "$("):
            cursor.at += 1
            value = self._several(cursor.brackets(), scope, line)
            in_list = cursor.text[start] == "@" and not isinstance(value, tuple)
            return ((value,) if value is not None else ()) if in_list else value
        if char == "(":
            return self._several(cursor.brackets(), scope, line)
        if cursor.peek(2) == "@{" or char == "{":
            cursor.at += char == "@"
            cursor.brackets()
            return unknown(cursor.text[start : start + 20].partition("\n")[0], "is a table or a block of code", line)
        if found := cursor.match(_VARIABLE):
            return self.variable(found[1] or found[2] or found[3], found[0], scope, line)
        if found := cursor.match(r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?(?![\w])"):
            return number_of(Text(found[0]))
        if found := cursor.match(r"\[[\w.]+\]::\w+"):
            if cursor.peek() == "(":
                cursor.brackets()
            empty = re.search(r"(ArrayList|List[\w.\[\]]*)\]::new$", found[0], re.IGNORECASE)
            return () if empty else unknown(found[0], _COMPUTED, line)
        if not cursor.match(r"[^\s;|()\[\]{},\"']+"):
            cursor.at += 1
        return unknown(cursor.text[start : cursor.at], _COMPUTED, line)

    def _several(self, text: str, scope: Scope, line: int) -> Value:
        """What stands in `@(...)`, a line or an element each; commands are not run."""
        if command := re.match(r"\s*([A-Za-z&][\w-]*)", text):
            return _of_command(text, command[1].lower(), self.script, line)
        cursor = Cursor(self.script, text, line)
        values: list[Value] = []
        cursor.skip(lines=True)
        while not cursor.done:
            before = cursor.at
            value = self.expression(cursor, scope)
            values += value if isinstance(value, tuple) else [value]
            cursor.skip(lines=True)
            if cursor.at == before or (not cursor.done and cursor.peek() in "|)"):
                return unknown(text.strip()[:60], _COMPUTED, line)
        return values[0] if len(values) == 1 else tuple(values)

    def variable(self, name: str, written: str, scope: Scope, line: int) -> Value:
        """A variable's value; of the environment where `$env:` says so."""
        key = re.sub(r"^(script|global|local):", "", name.lower())
        constants: dict[str, Value] = {"true": True, "false": False, "null": None, "args": ()}
        if key in constants:
            return constants[key]
        if key == "psscriptroot":
            file = self.script.file
            why = "is the script's own folder, and the text was not read from a file"
            return unknown(written, why, line) if file is None else Text(str(file.resolve().parent))
        if key in scope.variables:
            value = scope.variables[key]
            return Text(written, value.unknowns) if isinstance(value, Text) and value.unknowns else value
        if key.startswith("env:"):
            known = {one.lower(): one for one in self.script.environment}
            if key[4:] in known:
                return Text(self.script.environment[known[key[4:]]], outside=(known[key[4:]],))
        return unknown(written, "is set nowhere in the script", line)

    def string(self, quote: str, text: str, scope: Scope, line: int) -> Text:
        """What a string holds: variables and escapes are replaced in double quotes."""
        if quote == "'":
            return Text(text.replace("''", "'"))
        made, cursor = Text(), Cursor(self.script, text, line)
        while not cursor.done:
            if cursor.peek() == "`":
                escaped = cursor.peek(2)[1:]
                made += Text(_ESCAPES.get(escaped, escaped))
                cursor.at += 2
            elif cursor.peek(2) == '""':
                made += Text('"')
                cursor.at += 2
            elif cursor.peek(2) == "$(":
                cursor.at += 1
                made += as_text(self._several(cursor.brackets(), scope, line))
            elif found := cursor.match(_VARIABLE):
                made += as_text(self.variable(found[1] or found[2] or found[3], found[0], scope, line))
            else:
                made += Text(cursor.peek())
                cursor.at += 1
        return made

    def _method(self, value: Value, name: str, argument: Value, line: int) -> Value:
        method = _METHODS.get(name)
        text = as_text(value)
        if text.unknowns:
            return text
        if method is None or isinstance(value, tuple):
            return unknown(f"{text.text[:30]}.{name}()", _COMPUTED, line)
        return method(text.text, argument)


_METHODS: dict[str, Callable[[str, Value], Value]] = {
    "trim": lambda text, _: Text(text.strip()),
    "tolower": lambda text, _: Text(text.lower()),
    "toupper": lambda text, _: Text(text.upper()),
    "tostring": lambda text, _: Text(text),
}


def _both(left: Value, name: str, right: Value) -> Value:
    decisive = name == "or"
    for side in (left, right):
        if not open_on(side) and truth(side) is decisive:
            return decisive
    for side in (left, right):
        if on := open_on(side):
            return unknown(on, "is not known", 0)
    return not decisive


def _computed(left: Value, sign: str, right: Value, line: int) -> Value:
    if sign == "+" and isinstance(left, tuple):
        return (*left, *(right if isinstance(right, tuple) else (right,)))
    if sign == "+" and isinstance(left, Text):
        return left + as_text(right)
    on = open_on(left) or open_on(right)
    first, second = number_of(left), number_of(right)
    if on or first is None or second is None or (sign in "/%" and second == 0):
        return unknown(on or sign, _COMPUTED, line)
    value = {"+": first + second, "-": first - second, "*": first * second}.get(sign)
    if value is None:
        value = first / second if sign == "/" else first % second
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _cast(kind: str, value: Value, line: int) -> Value:
    name = kind.strip("[]").lower()
    if name in ("void", "array", "object", "string[]"):
        return value
    if open_on(value):
        return value
    if name == "string":
        return as_text(value)
    if name in ("bool", "switch"):
        return truth(value)
    number = number_of(value)
    if number is not None and name in ("int", "int32", "int64", "long"):
        return round(number)
    return number if number is not None else unknown(kind, _COMPUTED, line)


def _member(value: Value, name: str, written: str, line: int) -> Value:
    if isinstance(value, Text) and value.unknowns:
        return Text(written, value.unknowns)
    if name in ("count", "length") and isinstance(value, tuple):
        return len(value)
    if name == "length" and isinstance(value, Text):
        return len(value.text)
    return unknown(written, _COMPUTED, line)


def _element(value: Value, index: int | float | None, written: str, line: int) -> Value:
    if isinstance(value, Text) and value.unknowns:
        return Text(written, value.unknowns)
    if isinstance(value, tuple) and isinstance(index, int) and -len(value) <= index < len(value):
        return value[index]
    return unknown(written, "has an index that is not known", line)


def _of_command(text: str, name: str, script: Script, line: int) -> Value:
    """A command in brackets, where its output is known: the script's own folder."""
    own = re.search(r"\$(MyInvocation\.MyCommand\.(Definition|Path|Source)|PSCommandPath)", text, re.IGNORECASE)
    if name == "split-path" and own and script.file is not None:
        return Text(str(script.file.resolve().parent))
    if name == "join-path" and script.file is not None:
        found = re.fullmatch(r"\s*join-path\s+\$PSScriptRoot\s+[\"']?([\w./\\-]+)[\"']?\s*", text, re.IGNORECASE)
        if found:
            return Text(f"{script.file.resolve().parent}{os.sep}{found[1]}")
    return unknown(f"({text.strip()[:50]})", "is the output of a command, which only running can tell", line)

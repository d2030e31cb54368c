"""Words of bash: quotes, escapes and expansions, as they are written."""

from __future__ import annotations

import codecs
import re

from sweeplora.convert.scripts.bash.cursor import Cursor
from sweeplora.convert.scripts.bash.syntax import Arithmetic, Literal, Parameter, Part, Substitution, Word

ENDS = " \t\n;&|()<>"
_NAME = re.compile(r"[A-Za-z_]\w*|[0-9]|[@*#?$!_-]")
_BRACED = re.compile(r"([!#]?)([A-Za-z_]\w*|\d+|[@*#?$!_-])(?:\[([^\]]*)\])?(.*)", re.DOTALL)
_CLOSING = {"(": ")", "{": "}"}


def read_word(cursor: Cursor, ends: str = ENDS) -> Word:
    """One word from here on; empty where none stands here. Raises UserError for quotes that are never closed."""
    parts: list[Part] = []
    while not cursor.done and cursor.peek() not in ends:
        char = cursor.peek()
        if cursor.starts("\\\n"):
            cursor.at += 2
        elif char == "\\":
            parts.append(Literal(cursor.text[cursor.at + 1 : cursor.at + 2], True))
            cursor.at += 2
        elif char == "'":
            parts.append(Literal(_until(cursor, "'"), True))
        elif char == '"' or cursor.starts('$"'):
            cursor.at += 1 if char == '"' else 2
            parts += _double_quoted(cursor)
        elif cursor.starts("$'"):
            cursor.at += 1
            parts.append(Literal(_ansi(cursor), True))
        elif char in "$`":
            parts.append(_expansion(cursor, quoted=False))
        else:
            parts.append(Literal(char, False))
            cursor.at += 1
    return _merged(parts)


def read_quoted(cursor: Cursor) -> Word:
    """The whole text as if it stood in double quotes: a here-document's body."""
    return _merged(_double_quoted(cursor, ends=""))


def balanced(cursor: Cursor, opening: str) -> str:
    """What stands in brackets from here on, without them; quotes and inner brackets are gone past."""
    start, line, depth = cursor.at, cursor.line, 0
    closing = _CLOSING[opening]
    while not cursor.done:
        char = cursor.peek()
        if char == "\\":
            cursor.at += 2
            continue
        if char == "'":
            _until(cursor, "'")
            continue
        if char == '"':
            cursor.at += 1
            _double_quoted(cursor)
            continue
        depth += (char == opening) - (char == closing)
        cursor.at += 1
        if depth == 0:
            return cursor.text[start + 1 : cursor.at - 1]
    return cursor.fail(cursor.text[start : start + 40], f"a bracket {opening} is never closed", line)


def _until(cursor: Cursor, quote: str) -> str:
    end = cursor.text.find(quote, cursor.at + 1)
    if end < 0:
        cursor.fail(cursor.text[cursor.at : cursor.at + 40], f"a quotation mark {quote} is never closed")
    text = cursor.text[cursor.at + 1 : end]
    cursor.at = end + 1
    return text


def _ansi(cursor: Cursor) -> str:
    start = cursor.at + 1
    cursor.at = start
    while not cursor.done and cursor.peek() != "'":
        cursor.at += 2 if cursor.peek() == "\\" else 1
    if cursor.done:
        cursor.fail(cursor.text[start : start + 40], "a quotation mark $' is never closed")
    text = cursor.text[start : cursor.at]
    cursor.at += 1
    try:
        return codecs.decode(text.encode("latin-1", "backslashreplace"), "unicode_escape")
    except UnicodeDecodeError:
        return cursor.fail(text, "is not text in $'...'")


def _double_quoted(cursor: Cursor, ends: str = '"') -> list[Part]:
    parts: list[Part] = []
    start, line = cursor.at, cursor.line
    while not cursor.done and (not ends or cursor.peek() not in ends):
        char = cursor.peek()
        if char == "\\" and cursor.text[cursor.at + 1 : cursor.at + 2] in ('"', "\\", "$", "`", "\n"):
            escaped = cursor.text[cursor.at + 1]
            parts.append(Literal("" if escaped == "\n" else escaped, True))
            cursor.at += 2
        elif char in "$`":
            parts.append(_expansion(cursor, quoted=True))
        else:
            parts.append(Literal(char, True))
            cursor.at += 1
    if ends and cursor.done:
        cursor.fail(cursor.text[start : start + 40], 'a quotation mark " is never closed', line)
    cursor.at += len(ends)
    return parts or [Literal("", True)]


def _expansion(cursor: Cursor, quoted: bool) -> Part:
    """What begins with a dollar or a backquote here."""
    start, line = cursor.at, cursor.line
    if cursor.peek() == "`":
        script = _until(cursor, "`")
        return Substitution(cursor.text[start : cursor.at], script.replace("\\`", "`"), line, quoted)
    cursor.at += 1
    if cursor.starts("(("):
        inner = balanced(cursor, "(")
        if inner.startswith("(") and inner.endswith(")"):
            return Arithmetic(cursor.text[start : cursor.at], inner[1:-1], line, quoted)
        return Substitution(cursor.text[start : cursor.at], inner, line, quoted)
    if cursor.peek() == "(":
        inner = balanced(cursor, "(")
        return Substitution(cursor.text[start : cursor.at], inner, line, quoted)
    if cursor.peek() == "{":
        inner = balanced(cursor, "{")
        return _braced(cursor.text[start : cursor.at], inner, line, quoted)
    found = _NAME.match(cursor.text, cursor.at)
    if found is None:
        return Literal("$", quoted)
    cursor.at = found.end()
    return Parameter(cursor.text[start : cursor.at], found[0], line, quoted)


def _braced(raw: str, inner: str, line: int, quoted: bool) -> Parameter:
    if inner == "#":
        return Parameter(raw, "#", line, quoted)
    found = _BRACED.fullmatch(inner)
    if found is None:
        return Parameter(raw, inner, line, quoted, operator="?!", argument=inner)
    prefix, name, index, rest = found.groups()
    operator = next((sign for sign in _OPERATORS if rest.startswith(sign)), "?!" if rest else "")
    argument = rest.removeprefix(operator) if operator != "?!" else rest
    return Parameter(raw, name, line, quoted, index, operator, argument, prefix)


_OPERATORS = (
    *(":-", ":=", ":+", ":?", "##", "%%", "//", "/#", "/%", "^^", ",,"),
    *("-", "=", "+", "?", "#", "%", "/", "^", ",", ":", "@"),
)


def _merged(parts: list[Part]) -> Word:
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, Literal) and isinstance(last, Literal) and part.quoted == last.quoted:
            merged[-1] = Literal(last.text + part.text, part.quoted)
        else:
            merged.append(part)
    return tuple(merged)

"""Simple commands of bash: assignments, words, redirections."""

from __future__ import annotations

import re

from sweeplora.convert.scripts.bash.cursor import Cursor
from sweeplora.convert.scripts.bash.syntax import Assignment, Literal, Redirection, Simple, Substitution, Word
from sweeplora.convert.scripts.bash.words import ENDS, balanced, read_word

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(?:\[([^\]\n]*)\])?(\+?)=")
_REDIRECTION = re.compile(r"(?:\d+|\{\w+\})?(<<<|<<-|<<|>>|>&|<&|&>>|&>|>\||<>|<(?!\()|>(?!\())")
_DECLARING = ("export", "declare", "local", "readonly", "typeset")


def read_simple(cursor: Cursor, line: int) -> Simple:
    """A command with its assignments and redirections, up to what ends it."""
    node = Simple(line)
    declares = False
    while True:
        cursor.skip_blanks()
        if cursor.done or cursor.peek() in "\n;)":
            return node
        if read_redirection(cursor, node.redirections):
            continue
        if cursor.peek() in "&|":
            node.cut = _cut(cursor)
            return node
        if cursor.peek() == "(":
            cursor.fail(_around(cursor), "an unquoted parenthesis; put the word into quotes")
        if cursor.starts("<(", ">("):
            node.words.append(_process(cursor))
            continue
        assignment = _assignment(cursor) if declares or not node.words else None
        if assignment is not None:
            if node.words:
                node.words.append(assignment)
            else:
                node.assignments.append(assignment)
            continue
        node.words.append(read_word(cursor))
        declares = declares or (len(node.words) == 1 and _plain(node.words[0]) in _DECLARING)


def _cut(cursor: Cursor) -> str:
    """The operator here where it stands in the middle of what looks like one word."""
    operator = cursor.starts("&&", "||", "|&", "&", "|")
    before = cursor.text[cursor.at - 1 : cursor.at]
    after = cursor.text[cursor.at + len(operator) :][:1]
    return operator if before and before not in ENDS and after and after not in ENDS else ""


def _around(cursor: Cursor) -> str:
    start = max(cursor.text.rfind(char, 0, cursor.at) for char in " \t\n") + 1
    end = re.compile(r"\s|$").search(cursor.text, cursor.at)
    return cursor.text[start : end.start() if end else None]


def _process(cursor: Cursor) -> Word:
    start, line = cursor.at, cursor.line
    cursor.at += 1
    inner = balanced(cursor, "(")
    return (Substitution(cursor.text[start : cursor.at], inner, line, True),)


def _plain(word: Word | Assignment) -> str:
    texts = [part.text for part in word if isinstance(part, Literal)] if isinstance(word, tuple) else []
    return "".join(texts) if isinstance(word, tuple) and len(texts) == len(word) else ""


def _assignment(cursor: Cursor) -> Assignment | None:
    found = _ASSIGNMENT.match(cursor.text, cursor.at)
    if found is None:
        return None
    line = cursor.line
    name, index, append = found[1], found[2], bool(found[3])
    cursor.at = found.end()
    if cursor.peek() != "(":
        return Assignment(name, index, append, read_word(cursor), False, line)
    cursor.at += 1
    items: list[tuple[str | None, Word]] = []
    while True:
        cursor.skip_lines()
        if cursor.done:
            cursor.fail(name, "the list is never closed", line)
        if cursor.peek() == ")":
            cursor.at += 1
            return Assignment(name, index, append, tuple(items), True, line)
        subscript = re.compile(r"\[([^\]\n]*)\]=").match(cursor.text, cursor.at)
        cursor.at = subscript.end() if subscript else cursor.at
        before = cursor.at
        items.append((subscript[1] if subscript else None, read_word(cursor)))
        if cursor.at == before and not subscript:
            cursor.fail(_around(cursor), "bash does not expect this in a list; put it into quotes")


def read_redirection(cursor: Cursor, found: list[Redirection]) -> bool:
    """Read one redirection into `found`; False if there is none here."""
    match = _REDIRECTION.match(cursor.text, cursor.at)
    if match is None:
        return False
    cursor.at = match.end()
    cursor.skip_blanks()
    start = cursor.at
    target = read_word(cursor)
    redirection = Redirection(match[1], target)
    if match[1] in ("<<", "<<-"):
        written = cursor.text[start : cursor.at]
        delimiter = "".join(part.text for part in target if isinstance(part, Literal))
        redirection.expands = not any(quote in written for quote in "'\"\\")
        cursor.pending.append((redirection, delimiter, match[1] == "<<-"))
    found.append(redirection)
    return True

"""The grammar of bash: lists, pipelines, compound commands, functions."""

from __future__ import annotations

import re

from sweeplora.convert.scripts.bash.cursor import Cursor
from sweeplora.convert.scripts.bash.simple import read_redirection, read_simple
from sweeplora.convert.scripts.bash.syntax import (
    AndOr,
    Case,
    Function,
    Group,
    If,
    Let,
    Literal,
    Loop,
    Node,
    Pipeline,
    Redirection,
    Test,
    Word,
)
from sweeplora.convert.scripts.bash.words import ENDS, balanced, read_word

_RESERVED = re.compile(r"[A-Za-z]+(?=[\s;&|()<>]|$)|[{}!](?=[\s;&|()]|$)|\[\[(?=\s)")
_FUNCTION = re.compile(r"([\w.:-]+)[ \t]*\([ \t]*\)")
_CLOSERS = ("then", "elif", "else", "fi", "do", "done", "esac", "}", "in")


def parse(cursor: Cursor) -> list[Node]:
    """All statements up to the end of the text. Raises UserError for what bash would not read."""
    found = _list(cursor, ())
    if not cursor.done:
        cursor.fail(cursor.peek(20).partition("\n")[0], "bash does not expect this here")
    return found


def _list(cursor: Cursor, ends: tuple[str, ...]) -> list[Node]:
    """Statements up to one of the reserved words or brackets in `ends`, which is left to the caller."""
    found: list[Node] = []
    while True:
        _skip_separators(cursor, ";;" not in ends)
        if cursor.done or (")" in ends and cursor.peek() == ")") or (";;" in ends and cursor.starts(";;", ";&")):
            return found
        word = _reserved(cursor)
        if word in ends:
            return found
        if word in _CLOSERS and word != "in":
            cursor.fail(word, "bash does not expect this here; an earlier line is not what it looks like")
        before = cursor.at
        found.append(_and_or(cursor))
        if cursor.at == before:
            cursor.fail(cursor.peek(20).partition("\n")[0], "bash does not expect this here; put it into quotes")


def _skip_separators(cursor: Cursor, semicolons: bool = True) -> None:
    while True:
        cursor.skip_blanks()
        if cursor.peek() == "\n":
            cursor.newline()
        elif (cursor.peek() == ";" and (semicolons or not cursor.starts(";;", ";&"))) or (
            cursor.peek() == "&" and not cursor.starts("&&", "&>")
        ):
            cursor.at += 1
        else:
            return


def _reserved(cursor: Cursor) -> str:
    found = _RESERVED.match(cursor.text, cursor.at)
    return found[0] if found else ""


def _and_or(cursor: Cursor) -> Node:
    left = _pipeline(cursor)
    while True:
        cursor.skip_blanks()
        operator = cursor.starts("&&", "||")
        if not operator:
            return left
        cursor.at += 2
        cursor.skip_lines()
        left = AndOr(left, operator, _pipeline(cursor))


def _pipeline(cursor: Cursor) -> Node:
    negated = False
    while _reserved(cursor) in ("!", "time"):
        negated ^= _reserved(cursor) == "!"
        cursor.at += len(_reserved(cursor))
        cursor.skip_blanks()
    commands = [_command(cursor)]
    while True:
        cursor.skip_blanks()
        if cursor.peek() != "|" or cursor.starts("||"):
            break
        cursor.at += 2 if cursor.starts("|&") else 1
        cursor.skip_lines()
        commands.append(_command(cursor))
    return commands[0] if len(commands) == 1 and not negated else Pipeline(commands, negated)


def _command(cursor: Cursor) -> Node:
    line = cursor.line
    word = _reserved(cursor)
    if cursor.starts("((") and (node := _let(cursor, line)):
        return node
    match word:
        case "if":
            return _compound(cursor, _if(cursor, line))
        case "for" | "select" | "while" | "until":
            return _compound(cursor, _loop(cursor, line, word))
        case "case":
            return _compound(cursor, _case(cursor, line))
        case "function":
            return _function(cursor, line)
        case "[[":
            return _compound(cursor, _test(cursor, line))
        case "{":
            cursor.at += 1
            body = _list(cursor, ("}",))
            _expect(cursor, "}", "{", line)
            return _compound(cursor, Group(line, body, subshell=False))
    if cursor.peek() == "(":
        cursor.at += 1
        body = _list(cursor, (")",))
        _expect(cursor, ")", "(", line)
        return _compound(cursor, Group(line, body, subshell=True))
    found = _FUNCTION.match(cursor.text, cursor.at)
    if found:
        cursor.at = found.end()
        cursor.skip_lines()
        return Function(line, found[1], _command(cursor))
    return read_simple(cursor, line)


def _let(cursor: Cursor, line: int) -> Node | None:
    start = cursor.at
    inner = balanced(cursor, "(")
    if inner.startswith("(") and inner.endswith(")"):
        return _compound(cursor, Let(line, inner[1:-1]))
    cursor.at = start
    return None


def _expect(cursor: Cursor, word: str, opening: str, line: int) -> None:
    _skip_separators(cursor)
    if not cursor.starts(word):
        cursor.fail(opening, f"is never closed; `{word}` is missing", line)
    cursor.at += len(word)


def _compound(cursor: Cursor, node: Node) -> Node:
    """The redirections behind a compound command."""
    redirections: list[Redirection] = []
    cursor.skip_blanks()
    while read_redirection(cursor, redirections):
        cursor.skip_blanks()
    if redirections and isinstance(node, Group):
        node.redirections = redirections
    return node


def _if(cursor: Cursor, line: int) -> If:
    node = If(line, [], [], [])
    keyword = "if"
    while True:
        cursor.at += len(keyword)
        start = cursor.at
        condition = _list(cursor, ("then",))
        node.raw.append(" ".join(cursor.text[start : cursor.at].split()).rstrip("; "))
        _expect(cursor, "then", "if", line)
        body = _list(cursor, ("elif", "else", "fi"))
        node.branches.append((condition, body))
        keyword = _reserved(cursor)
        if keyword == "elif":
            continue
        if keyword == "else":
            cursor.at += 4
            node.otherwise = _list(cursor, ("fi",))
        _expect(cursor, "fi", "if", line)
        return node


def _loop(cursor: Cursor, line: int, keyword: str) -> Loop:
    cursor.at += len(keyword)
    node = Loop(line, keyword, "", None, [], [])
    cursor.skip_blanks()
    if keyword in ("while", "until"):
        node.condition = _list(cursor, ("do",))
    elif cursor.starts("(("):
        node.keyword, node.name = "for ((", balanced(cursor, "(")
    else:
        found = re.compile(r"[A-Za-z_]\w*").match(cursor.text, cursor.at)
        if not found:
            cursor.fail(keyword, "names no variable", line)
        node.name, cursor.at = found[0], found.end()
        cursor.skip_lines()
        if _reserved(cursor) == "in":
            cursor.at += 2
            node.words = _words(cursor)
    _expect(cursor, "do", keyword, line)
    node.body = _list(cursor, ("done",))
    _expect(cursor, "done", keyword, line)
    return node


def _words(cursor: Cursor) -> list[Word]:
    words: list[Word] = []
    cursor.skip_blanks()
    while word := read_word(cursor):
        words.append(word)
        cursor.skip_blanks()
    return words


def _case(cursor: Cursor, line: int) -> Case:
    cursor.at += 4
    cursor.skip_blanks()
    start = cursor.at
    subject = read_word(cursor)
    node = Case(line, subject, cursor.text[start : cursor.at], [])
    cursor.skip_lines()
    _expect(cursor, "in", "case", line)
    while True:
        _skip_separators(cursor)
        if _reserved(cursor) == "esac" or cursor.done:
            _expect(cursor, "esac", "case", line)
            return node
        if cursor.peek() == "(":
            cursor.at += 1
        patterns: list[Word] = []
        cursor.skip_blanks()
        while word := read_word(cursor):
            patterns.append(word)
            cursor.skip_blanks()
            if cursor.peek() != "|":
                break
            cursor.at += 1
            cursor.skip_blanks()
        _expect(cursor, ")", "case", line)
        node.items.append((patterns, _list(cursor, (";;", "esac"))))
        ended = cursor.starts(";;&", ";;", ";&")
        cursor.at += len(ended)


def _function(cursor: Cursor, line: int) -> Node:
    cursor.at += len("function")
    cursor.skip_blanks()
    found = re.compile(r"([\w.:-]+)(?:[ \t]*\([ \t]*\))?").match(cursor.text, cursor.at)
    if not found:
        cursor.fail("function", "has no name", line)
    cursor.at = found.end()
    cursor.skip_lines()
    return Function(line, found[1], _command(cursor))


def _test(cursor: Cursor, line: int) -> Test:
    start = cursor.at
    cursor.at += 2
    tokens: list[Word | str] = []
    while True:
        cursor.skip_lines()
        if cursor.done:
            cursor.fail("[[", "is never closed", line)
        if _at_end_of_test(cursor):
            cursor.at += 2
            return Test(line, cursor.text[start : cursor.at], tokens)
        operator = cursor.starts("&&", "||", "(", ")", "<", ">")
        if operator:
            tokens.append(operator)
            cursor.at += len(operator)
            continue
        matches = bool(tokens) and tokens[-1] == (Literal("=~", False),)
        before = cursor.at
        tokens.append(read_word(cursor, " \t\n" if matches else ENDS))
        if cursor.at == before:
            cursor.fail(cursor.peek(), "bash does not expect this in [[ ]]")


def _at_end_of_test(cursor: Cursor) -> bool:
    return bool(cursor.starts("]]")) and cursor.text[cursor.at + 2 : cursor.at + 3] in ("", *" \t\n;&|)")

"""Tests, `[ ... ]` and `[[ ... ]]`: decided if the script itself sets both sides."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sweeplora.convert.scripts.text import Text


@dataclass(frozen=True)
class Undecided:
    """A condition that is only decided at run time; `on` names what it depends on."""

    on: str


Verdict = bool | Undecided
Token = Text | str
"""A word, or an operator of `[[ ]]` as a plain string."""

_COMPARED = ("=", "==", "!=", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "<", ">", "=~", "-nt", "-ot", "-ef")


def negate(verdict: Verdict) -> Verdict:
    """The opposite."""
    return verdict if isinstance(verdict, Undecided) else not verdict


def both(left: Verdict, right: Verdict) -> Verdict:
    """`left && right`."""
    if left is False or right is False:
        return False
    return next((side for side in (left, right) if isinstance(side, Undecided)), True)


def either(left: Verdict, right: Verdict) -> Verdict:
    """`left || right`."""
    return negate(both(negate(left), negate(right)))


def decide(tokens: Sequence[Token], patterns: bool) -> Verdict:
    """The verdict on the words of a test. `patterns`: whether == matches a pattern, as in `[[ ]]`."""
    if not tokens:
        return False
    verdict, rest = _any(list(tokens), patterns)
    return Undecided(_written(rest[0])) if rest else verdict


def _any(tokens: list[Token], patterns: bool) -> tuple[Verdict, list[Token]]:
    verdict, rest = _all(tokens, patterns)
    while rest and _written(rest[0]) in ("||", "-o"):
        right, rest = _all(rest[1:], patterns)
        verdict = either(verdict, right)
    return verdict, rest


def _all(tokens: list[Token], patterns: bool) -> tuple[Verdict, list[Token]]:
    verdict, rest = _one(tokens, patterns)
    while rest and _written(rest[0]) in ("&&", "-a"):
        right, rest = _one(rest[1:], patterns)
        verdict = both(verdict, right)
    return verdict, rest


def _one(tokens: list[Token], patterns: bool) -> tuple[Verdict, list[Token]]:
    if not tokens:
        return False, []
    first = _written(tokens[0])
    if len(tokens) > 2 and _written(tokens[1]) in _COMPARED and isinstance(tokens[0], Text):
        return _compare(tokens[0], _written(tokens[1]), tokens[2], patterns), tokens[3:]
    if first == "!" and len(tokens) > 1:
        verdict, rest = _one(tokens[1:], patterns)
        return negate(verdict), rest
    if first == "(":
        verdict, rest = _any(tokens[1:], patterns)
        return (verdict, rest[1:]) if rest and _written(rest[0]) == ")" else (Undecided(first), [])
    if first in ("-n", "-z") and len(tokens) == 1:
        return True, []
    if first in ("-n", "-z"):
        verdict = _filled(tokens[1])
        return (verdict if first == "-n" else negate(verdict)), tokens[2:]
    if re.fullmatch("-[a-zA-Z]", first) and len(tokens) > 1:
        return Undecided(f"{first} {_written(tokens[1])}"), tokens[2:]
    return _filled(tokens[0]), tokens[1:]


def _filled(token: Token) -> Verdict:
    if isinstance(token, str):
        return Undecided(token)
    return _open(token) or bool(token.text)


def _open(token: Token) -> Undecided | None:
    """What makes a side unknown: a computed value, or one from the environment."""
    if isinstance(token, str):
        return Undecided(token)
    if token.unknowns:
        return Undecided(token.unknowns[0].name)
    return Undecided(f"${token.outside[0]} of the environment") if token.outside else None


def _compare(left: Token, operator: str, right: Token, patterns: bool) -> Verdict:
    undecided = _open(left) or _open(right)
    if undecided:
        return undecided
    assert isinstance(left, Text) and isinstance(right, Text)
    first, second = left.text, right.text
    match operator:
        case "=" | "==":
            return fnmatch.fnmatchcase(first, second) if patterns else first == second
        case "!=":
            return not fnmatch.fnmatchcase(first, second) if patterns else first != second
        case "<":
            return first < second
        case ">":
            return first > second
        case "=~" | "-nt" | "-ot" | "-ef":
            return Undecided(f"{first} {operator} {second}")
    return _numbers(first, operator, second)


def _numbers(first: str, operator: str, second: str) -> Verdict:
    if not all(re.fullmatch(r"\s*-?\d{1,18}\s*", side) for side in (first, second)):
        return Undecided(f"{first} {operator} {second}")
    left, right = int(first), int(second)
    match operator:
        case "-eq":
            return left == right
        case "-ne":
            return left != right
        case "-lt":
            return left < right
        case "-le":
            return left <= right
        case "-gt":
            return left > right
    return left >= right


def _written(token: Token) -> str:
    return token if isinstance(token, str) else token.text

"""Emphasis in a text: parses `(word:1.2)`, `(word)` and `[word]` into weighted pieces."""

from __future__ import annotations

import re
from typing import NamedTuple

_STEP = 1.1
"""The factor by which a round bracket without a number multiplies, and a square bracket divides."""

_SIGNS = re.compile(
    r"\\(?P<escaped>[()\[\]\\]?)"
    r"|:(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\)"
    r"|(?P<bracket>[()\[\]])"
    r"|(?P<plain>[^\\()\[\]:]+|:)"
)


class Piece(NamedTuple):
    """A stretch of text whose tokens' embeddings are multiplied by `weight`."""

    text: str
    weight: float


def pieces(text: str) -> list[Piece]:
    """The pieces of a text in order; neighbours of equal weight are merged.

    `(a)` has weight 1.1, `[a]` 1 / 1.1, `(a:1.3)` 1.3; nested brackets multiply, and an unclosed one extends to
    the end. A backslash makes the following bracket or backslash literal. Round and square brackets are matched
    independently, and an unmatched closing bracket is text. This follows the reference (`weighted_captions`), except
    for a number like `1.2.3`: the reference fails on it, here the characters are text.
    """
    found: list[tuple[str, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for sign in _SIGNS.finditer(text):
        bracket, weight = sign["bracket"], sign["weight"]
        if bracket in ("(", "["):
            opened[bracket].append(len(found))
        elif weight is not None and opened["("]:
            _multiply(found, opened["("].pop(), float(weight))
        elif bracket == ")" and opened["("]:
            _multiply(found, opened["("].pop(), _STEP)
        elif bracket == "]" and opened["["]:
            _multiply(found, opened["["].pop(), 1 / _STEP)
        else:
            found.append((sign["escaped"] if sign["escaped"] is not None else sign[0], 1.0))
    for start in opened["("]:
        _multiply(found, start, _STEP)
    for start in opened["["]:
        _multiply(found, start, 1 / _STEP)
    return _joined(found)


def _multiply(found: list[tuple[str, float]], start: int, factor: float) -> None:
    found[start:] = [(text, weight * factor) for text, weight in found[start:]]


def _joined(found: list[tuple[str, float]]) -> list[Piece]:
    joined: list[Piece] = []
    for text, weight in found:
        if joined and joined[-1].weight == weight:
            joined[-1] = Piece(joined[-1].text + text, weight)
        else:
            joined.append(Piece(text, weight))
    return joined

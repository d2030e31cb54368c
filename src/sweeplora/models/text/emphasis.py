"""Emphasis in a text: `(word:1.2)`, `(word)` and `[word]` read as pieces with weights."""

from __future__ import annotations

import re
from typing import NamedTuple

_STEP = 1.1
"""What a bracket without a number multiplies or, a square one, divides by."""

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
    """The pieces of a text in order, neighbours of one weight as one.

    `(a)` weighs 1.1, `[a]` 1 / 1.1, `(a:1.3)` 1.3; nested brackets multiply, and one that stays open reaches to
    the end. A backslash keeps the bracket or backslash behind it as text. Round and square brackets are matched
    apart from each other, and a closing one without its opening one is text. This is the reference's reading
    (`weighted_captions`); only where it breaks off, at a number like `1.2.3`, the characters are text here.
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

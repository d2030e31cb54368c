"""`if` of a batch file: decided if the script itself sets both sides."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

from sweeplora.convert.scripts.batch.grammar import If
from sweeplora.convert.scripts.batch.marks import OUTSIDE
from sweeplora.convert.scripts.batch.percent import Expansion
from sweeplora.convert.scripts.batch.state import State


@dataclass(frozen=True)
class Undecided:
    """A condition that is only decided at run time; `on` names what it depends on."""

    on: str


_COMPARED = {
    "equ": operator.eq,
    "neq": operator.ne,
    "lss": operator.lt,
    "leq": operator.le,
    "gtr": operator.gt,
    "geq": operator.ge,
}


def decide(node: If, state: State, expansion: Expansion) -> bool | Undecided:
    """The verdict on an `if`."""
    verdict = _verdict(node, state, expansion)
    return verdict if isinstance(verdict, Undecided) else verdict != node.negated


def _verdict(node: If, state: State, expansion: Expansion) -> bool | Undecided:
    if node.operator == "defined":
        value = state.variables.get(node.left.lower())
        if value is None or expansion.marks.first(value) is not None:
            return Undecided(f"%{node.left}%")
        return value != ""
    if node.operator not in ("==", *_COMPARED):
        return Undecided(f"`{node.operator} {expansion.marks.text(node.left).text}`")
    left, right = (expansion.delayed(side, state, node.line) for side in (node.left, node.right))
    for side in (left, right):
        if unknown := expansion.marks.first(side):
            return Undecided(unknown.name)
        if OUTSIDE in side:
            return Undecided(f"{expansion.marks.text(side).text} of the environment")
    if node.ignores_case:
        left, right = left.lower(), right.lower()
    if node.operator == "==":
        return left == right
    if re.fullmatch(r"-?\d{1,9}", left) and re.fullmatch(r"-?\d{1,9}", right):
        return bool(_COMPARED[node.operator](int(left), int(right)))
    return bool(_COMPARED[node.operator](left, right))

"""`sweep.constraints`: comparisons of keys that every proposal has to keep, e.g. `network.alpha <= network.dim`.

The language is arithmetic, comparisons, `and`, `or`, `not`, `in`, a few functions, numbers, quoted texts, lists and
dotted keys. It is read into Python's syntax tree and computed here, never executed.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeplora.errors import UserError

_LONGEST = 500
_EXAMPLE = "e.g. network.alpha <= network.dim, or optimizer.lr * network.alpha < 0.01"
_LEAST = 1e-12
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, power: float(base) ** float(power),  # whole numbers could grow without end
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "sum": sum,
    "len": len,
    "sqrt": math.sqrt,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
}
ValueOf = Callable[[str], Any]
"""The value of a dotted key. Raises NotSet for a key that a proposal does not have."""


class NotSet(LookupError):
    """A key exists only under a choice that a proposal did not take."""


@dataclass(frozen=True)
class Constraint:
    """One constraint: its text as written, and what is computed."""

    text: str
    tree: ast.expr
    keys: tuple[str, ...]

    def excess(self, value_of: ValueOf) -> float:
        """By how much it is broken; 0 or less if it holds, or if one of its keys does not exist in the proposal.

        Raises UserError if it cannot be computed, for example with null.
        """
        try:
            values = {key: value_of(key) for key in self.keys}
        except NotSet:
            return 0.0
        try:
            return _excess(self.tree, values.__getitem__)
        except (TypeError, ValueError, ArithmeticError) as error:
            told = ", ".join(f"{key}={value}" for key, value in values.items())
            mend = f"cannot be computed with {told}: {error}"
            raise UserError("sweep.constraints", self.text, mend) from error


def parse_constraint(text: str) -> Constraint:
    """Read one constraint. Raises UserError for what is not part of the language."""
    if len(text) > _LONGEST:
        raise UserError("sweep.constraints", text, f"is longer than {_LONGEST} letters; split it")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError("sweep.constraints", text, f"is not a comparison; {_EXAMPLE}") from error
    keys: dict[str, None] = {}
    try:
        _check(tree, text, keys)
    except RecursionError as error:
        raise UserError("sweep.constraints", text, "is nested too deeply; split it") from error
    if not _is_condition(tree):
        raise UserError("sweep.constraints", text, f"is neither true nor false; {_EXAMPLE}")
    if not keys:
        raise UserError("sweep.constraints", text, f"names no key; {_EXAMPLE}")
    return Constraint(text, tree, tuple(keys))


def _is_condition(node: ast.expr) -> bool:
    match node:
        case ast.BoolOp():
            return all(_is_condition(one) for one in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return _is_condition(node.operand)
    return isinstance(node, ast.Compare)


def _check(node: ast.expr, text: str, keys: dict[str, None]) -> None:
    """Refuse what is not part of the language, and collect the keys."""
    inner: Sequence[ast.expr]
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return
        case ast.Name() | ast.Attribute() if (key := _key(node)) is not None:
            if key not in _WORDS:
                keys[key] = None
            return
        case ast.BoolOp():
            inner = node.values
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()):
            inner = [node.operand]
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            inner = [node.left, node.right]
        case ast.Compare() if not any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            inner = [node.left, *node.comparators]
        case ast.List() | ast.Tuple():
            inner = node.elts
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            inner = node.args
        case _:
            part = ast.get_source_segment(text.strip(), node) or type(node).__name__
            known = ", ".join(_FUNCTIONS)
            mend = f"{part} is no part of a constraint: it has numbers, keys, + - * / ** and {known}; {_EXAMPLE}"
            raise UserError("sweep.constraints", text, mend)
    for one in inner:
        _check(one, text, keys)


def _key(node: ast.expr) -> str | None:
    """The dotted key that a name or a chain of attributes writes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _key(node.value)) is not None:
        return f"{before}.{node.attr}"
    return None


def _excess(node: ast.expr, value_of: ValueOf) -> float:
    match node:
        case ast.BoolOp(op=ast.And()):
            return _excess_of_all(node.values, value_of)
        case ast.BoolOp():
            return _excess_of_any(node.values, value_of)
        case ast.UnaryOp():
            return -1.0 if _excess(node.operand, value_of) > 0 else 1.0
    assert isinstance(node, ast.Compare)
    sides = [_value(one, value_of) for one in (node.left, *node.comparators)]
    pairs = zip(node.ops, sides, sides[1:], strict=False)
    return max(_excess_of_pair(op, left, right) for op, left, right in pairs)


def _excess_of_all(nodes: Sequence[ast.expr], value_of: ValueOf) -> float:
    """By how much `and` is broken. As in Python, nothing is computed after a part that is: parts guard later ones."""
    most = -math.inf
    for node in nodes:
        most = max(most, _excess(node, value_of))
        if most > 0:
            break
    return most


def _excess_of_any(nodes: Sequence[ast.expr], value_of: ValueOf) -> float:
    """By how much `or` is broken. As in Python, nothing is computed after a part that holds."""
    least = math.inf
    for node in nodes:
        least = min(least, _excess(node, value_of))
        if least <= 0:
            break
    return least


def _excess_of_pair(op: ast.cmpop, left: Any, right: Any) -> float:
    match op:
        case ast.LtE():
            return float(left - right)
        case ast.GtE():
            return float(right - left)
        case ast.Lt():
            return _strictly(left - right)
        case ast.Gt():
            return _strictly(right - left)
        case ast.Eq():
            return 0.0 if left == right else 1.0
        case ast.NotEq():
            return 0.0 if left != right else 1.0
        case ast.In():
            return 0.0 if left in right else 1.0
    return 0.0 if left not in right else 1.0


def _strictly(difference: float) -> float:
    return float(difference) if difference < 0 else max(float(difference), _LEAST)


def _value(node: ast.expr, value_of: ValueOf) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name() | ast.Attribute():
            key = _key(node)
            assert key is not None
            return _WORDS[key] if key in _WORDS else value_of(key)
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, value_of)
        case ast.UnaryOp(op=ast.UAdd()):
            return _value(node.operand, value_of)
        case ast.BinOp():
            return _ARITHMETIC[type(node.op)](_value(node.left, value_of), _value(node.right, value_of))
        case ast.List() | ast.Tuple():
            return [_value(one, value_of) for one in node.elts]
        case ast.Call(func=ast.Name(id=name)):
            return _FUNCTIONS[name](*(_value(one, value_of) for one in node.args))
    return _excess(node, value_of) <= 0

"""Annotations as types: evaluated from their syntax, and described in words."""

from __future__ import annotations

import ast
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types as at

Lookup = Callable[[str], "tuple[ast.expr | None, Any] | None"]
"""Name -> (the expression it stands for, the lookup there), (None, None) for a class; None if unknown."""

_NAMES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, bool, str, list, tuple, dict, set, bytes)},
    **{kind.__name__: kind for kind in (at.Ge, at.Gt, at.Le, at.Lt, at.Interval, at.MinLen, at.MaxLen, at.Len)},
    **{"MultipleOf": at.MultipleOf, "Path": Path, "Any": Any, "Annotated": Annotated, "Literal": Literal},
    **{"Optional": typing.Optional, "Union": typing.Union, "List": list, "Tuple": tuple, "Dict": dict},
    **{"Sequence": Sequence, "Mapping": Mapping, "Iterable": Iterable},
}
_WORDS: dict[Any, str] = {
    **{int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"},
    **dict.fromkeys((dict, Mapping), "a mapping"),
}
_LISTS = (list, tuple, set, Sequence, Iterable)


class Opaque:
    """A class whose instances no configuration file can hold: accepts no value from a file."""


def evaluate(node: ast.expr, lookup: Lookup, depth: int = 8) -> Any:
    """The type that an annotation's syntax means; Any if that cannot be determined without running code."""
    names: dict[str, Any] = {"__builtins__": {}}
    for name in {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}:
        names[name] = _NAMES[name] if name in _NAMES else _resolve(name, lookup, depth)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return evaluate(ast.parse(node.value, mode="eval").body, lookup, depth - 1) if depth else Any
    try:
        return eval(compile(ast.Expression(node), "<annotation>", "eval"), names)
    except (AttributeError, NameError, TypeError, SyntaxError):
        return Any


def type_of_default(default: ast.expr | None) -> Any:
    """The type of an argument without an annotation, by its default: a number, a boolean, or anything."""
    try:
        value = ast.literal_eval(default) if default is not None else None
    except ValueError:
        return Any
    match value:
        case bool():
            return bool | None
        case int() | float():
            return float | None
        case _:
            return Any


def describe(kind: Any) -> str:
    """A type in words: "a whole number >= 1 or null"."""
    arguments = get_args(kind)
    origin = get_origin(kind)
    if origin is Annotated:
        limits = ", ".join(filter(None, (_limit(limit) for limit in arguments[1:])))
        return f"{describe(arguments[0])} {limits}".strip()
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments if argument is not Opaque)
    if origin in _LISTS or kind in _LISTS:
        inner = {describe(argument) for argument in arguments if argument is not ...}
        length = f" of {len(arguments)}" if origin is tuple and ... not in arguments else ""
        return f"a list{length}" + (f", each {' or '.join(sorted(inner))}" if inner else "")
    return _WORDS.get(origin or kind, "text" if kind is Path else "another value")


def _resolve(name: str, lookup: Lookup, depth: int) -> Any:
    meaning = lookup(name) if depth else None
    if meaning is None:
        return Any
    expression, there = meaning
    return Opaque if expression is None else evaluate(expression, there, depth - 1)


def _limit(limit: object) -> str:
    match limit:
        case at.Ge(ge=bound):
            return f">= {bound}"
        case at.Gt(gt=bound):
            return f"> {bound}"
        case at.Le(le=bound):
            return f"<= {bound}"
        case at.Lt(lt=bound):
            return f"< {bound}"
        case at.Interval():
            return ", ".join(filter(None, map(_limit, limit)))
        case at.MultipleOf(multiple_of=step):
            return f"that is a multiple of {step}"
        case at.MinLen(min_length=1):
            return "that is not empty"
        case at.MinLen(min_length=length):
            return f"of at least {length}"
        case _:
            return ""

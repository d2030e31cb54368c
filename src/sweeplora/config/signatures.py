"""The arguments of a `_target_`, read from its source without importing it."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweeplora.config.annotations import evaluate, type_of_default
from sweeplora.config.sources import Found, Source, find, find_target, method

_SHIPPED = "sweeplora."
_WITHOUT_INIT = ("object", "ABC", "abc.ABC", "Protocol", "Generic", "typing.Protocol", "typing.Generic")


class Parameter(NamedTuple):
    """One argument: its evaluated type (Any if it cannot be read) and whether it is required."""

    type: Any
    required: bool


@dataclass(frozen=True)
class Signature:
    """The arguments of a function or class by name; `open` if it accepts any other name too."""

    parameters: dict[str, Parameter]
    open: bool


def signature_of(target: str, key: str) -> Signature | None:
    """The arguments of the function or class that a dotted path names; None if source cannot tell.

    Raises UserError for `key` when there is no such package, module or name.
    """
    return _of_shipped(target, key) if target.startswith(_SHIPPED) else _read(target, key)


@functools.lru_cache(maxsize=512)
def _of_shipped(target: str, key: str) -> Signature | None:
    """Of a name in this package, whose files are read once: a process runs the code that it began with."""
    return _read(target, key)


def _read(target: str, key: str) -> Signature | None:
    found = find_target(target, key)
    if found is None:
        return None
    if isinstance(found.node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _of_function(found.node, found.source, bound=_is_classmethod(found.node))
    if isinstance(found.node, ast.ClassDef):
        return _of_class(found.node, found.source)
    return None


def _is_classmethod(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator) == "classmethod" for decorator in node.decorator_list)


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, source: Source, *, bound: bool) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    pairs = [*zip(positional, defaults, strict=True)][1 if bound else 0 :]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters = {
        argument.arg: Parameter(_type(argument.annotation, default, source), default is None)
        for argument, default in pairs
    }
    return Signature(parameters, open=arguments.kwarg is not None)


def _of_class(node: ast.ClassDef, source: Source) -> Signature | None:
    init = method(node, "__init__")
    if init is not None:
        return _of_function(init, source, bound=True)
    written = [base for base in node.bases if ast.unparse(base).partition("[")[0] not in _WITHOUT_INIT]
    bases = [_base(base, source) for base in written]
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        parameters: dict[str, Parameter] = {}
        for base in reversed(bases):
            inherited = _inherited(base)
            parameters |= inherited.parameters if inherited else {}
        return Signature(parameters | _fields(node, source), open=False)
    if not written:
        return None if method(node, "__new__") else Signature({}, open=False)
    return _inherited(next((base for base in bases if base is not None), None))


def _inherited(base: Found | None) -> Signature | None:
    if base is None or not isinstance(base.node, ast.ClassDef):
        return None
    return _of_class(base.node, base.source)


def _base(base: ast.expr, source: Source) -> Found | None:
    return find(source, base.id) if isinstance(base, ast.Name) else None


def _fields(node: ast.ClassDef, source: Source) -> dict[str, Parameter]:
    """A dataclass's fields: annotated names in its body, except class variables and `field(init=False)`."""
    fields: dict[str, Parameter] = {}
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        default = ast.unparse(statement.value) if statement.value else ""
        if "ClassVar" in ast.unparse(statement.annotation) or "init=False" in default:
            continue
        is_required = not default or (default.startswith("field(") and "default" not in default)
        fields[statement.target.id] = Parameter(_type(statement.annotation, None, source), is_required)
    return fields


def _type(annotation: ast.expr | None, default: ast.expr | None, source: Source) -> Any:
    if annotation is None:
        return type_of_default(default)
    return evaluate(annotation, functools.partial(_alias, source))


def _alias(source: Source, name: str) -> tuple[ast.expr | None, Any] | None:
    """What a name in an annotation stands for: an expression to evaluate where it is defined, or a class."""
    found = find(source, name)
    match found:
        case Found(ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value), there):
            return value, functools.partial(_alias, there)
        case Found(ast.ClassDef(), _):
            return None, None
        case _:
            return None

"""Finds and parses modules, and looks up names in them, without importing them."""

from __future__ import annotations

import ast
import copy
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from sweeplora.errors import UserError

Node = TypeVar("Node", bound=ast.AST)

_MOST_MODULES = 1024
"""What is kept of parsed modules: all of this package's, and those of others that its targets are in."""


class Source(NamedTuple):
    """A module's dotted name, its syntax tree and the package that its relative imports start from."""

    module: str
    package: str
    tree: ast.Module

    def absolute(self, statement: ast.ImportFrom) -> str:
        """The module that a `from` imports from, its leading dots resolved."""
        package = self.package.split(".")
        base = package[: len(package) - statement.level + 1] if statement.level else []
        return ".".join([*base, *([statement.module] if statement.module else [])])


class Found(NamedTuple):
    """A definition and the module that contains it."""

    node: ast.stmt
    source: Source


def find(source: Source, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Found | None:
    """Where `name`, as used in a module, is defined: in it, or in the module that it is imported from."""
    if (source.module, name) in seen:
        return None
    seen = seen | {(source.module, name)}
    stars: list[ast.ImportFrom] = []
    last: Found | None = None
    for statement in _statements(source.tree.body):
        if isinstance(statement, ast.ImportFrom):
            if statement.names[0].name == "*":
                stars.append(statement)
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    last = _imported(source, statement, alias.name, seen) or last
        elif _defines(statement, name):
            last = Found(statement, source)
    if last is not None:
        return last
    return next(filter(None, (_imported(source, star, name, seen) for star in stars)), None)


def source_of(module: str) -> Source | None:
    """The parsed source of a module, found through its top-level package's folder; None if there is none."""
    path = module_file(module)
    if path is None or path.suffix != ".py":
        return None
    is_package = path.name == "__init__.py"
    return Source(module, module if is_package else module.rpartition(".")[0], _parse(path, path.stat().st_mtime_ns))


def module_file(module: str) -> Path | None:
    """The file of a module: `.py`, a package's `__init__.py`, or the file of an extension module."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        if spec.origin and Path(spec.origin).is_file():
            return Path(spec.origin)
        return Path(*spec.submodule_search_locations) if spec.submodule_search_locations else None
    for location in spec.submodule_search_locations or ():
        base = Path(location, *rest)
        for candidate in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if candidate.is_file():
                return candidate
        if base.is_dir():
            return base
    return None


@functools.lru_cache(maxsize=_MOST_MODULES)
def text_that_runs(source: Source) -> str:
    """A module's source regenerated from its syntax tree: without comments, docstrings and formatting."""
    return ast.unparse(_without_texts(source.tree))


def find_target(target: str, key: str) -> Found | None:
    """The definition that a dotted path names; None if source cannot tell.

    Raises UserError for `key` when there is no such package, module or name.
    """
    parts = target.split(".")
    if len(parts) < 2 or parts[0] == "__main__" or not all(part.isidentifier() for part in parts):
        raise UserError(key, target, "expected package.module.Name")
    if module_file(parts[0]) is None:
        raise UserError(key, target, f"there is no package {parts[0]} here; pip install {parts[0]}")
    module = module_of(target)
    names = target.removeprefix(module).split(".")[1:]
    source = source_of(module)
    if source is None or not names:
        return None
    found = find(source, names[0])
    if found is None and not _made_on_demand(source):
        raise UserError(key, target, f"there is no {names[0]} in {module}")
    for name in names[1:]:
        if found is None or not isinstance(found.node, ast.ClassDef):
            return None
        inner = method(found.node, name)
        found = Found(inner, found.source) if inner else None
    return found


def is_class(target: str, key: str) -> bool:
    """Whether a dotted path names a class, as far as source can tell."""
    found = find_target(target, key)
    return found is not None and isinstance(found.node, ast.ClassDef)


def module_of(target: str) -> str:
    """The module in a dotted path: its longest prefix that is a module."""
    parts = target.split(".")
    length = next(n for n in range(len(parts), 0, -1) if n == 1 or module_file(".".join(parts[:n])))
    return ".".join(parts[:length])


def method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """A class's own method, the last of that name."""
    methods = [s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == name]
    return methods[-1] if methods else None


@functools.lru_cache(maxsize=_MOST_MODULES)
def _parse(path: Path, _modified: int) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else 1
        raise UserError(str(path), f"line {line}", f"is no Python ({error.args[0]}); mend the file") from error


def _without_texts(node: Node) -> Node:
    """A copy without bare string statements: docstrings, including those of attributes."""
    copied = copy.copy(node)
    for name, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt | ast.excepthandler | ast.match_case):
            setattr(copied, name, [_without_texts(inner) for inner in value if not _is_text(inner)])
    return copied


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """A body's statements, including those inside `if`, `try` and `with`."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(statement, part, []))
            for handler in getattr(statement, "handlers", []):
                yield from _statements(handler.body)


def _defines(statement: ast.stmt, name: str) -> bool:
    match statement:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return statement.name == name
        case ast.Assign():
            return any(isinstance(target, ast.Name) and target.id == name for target in statement.targets)
        case ast.AnnAssign():
            return isinstance(statement.target, ast.Name) and statement.target.id == name
        case _:
            return False


def _imported(source: Source, statement: ast.ImportFrom, name: str, seen: frozenset[tuple[str, str]]) -> Found | None:
    there = source_of(source.absolute(statement))
    return None if there is None else find(there, name, seen)


def _made_on_demand(source: Source) -> bool:
    """Whether a module creates names that its source does not define, as lazily importing packages do."""
    return any(
        (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")
        or (isinstance(node, ast.Attribute) and node.attr == "modules")
        for node in ast.walk(source.tree)
    )

"""The imports of a module, read from source: what is cheap to import, and what code a training runs."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Callable, Iterable, Iterator

from sweeplora.config.sources import Source, module_file, source_of

_LIGHT = frozenset({"annotated_types", "hydra", "numpy", "omegaconf", "PIL", "pydantic", "yaml"})
"""Third-party packages that import in a fraction of a second."""

_OWN = "sweeplora"
_INSTALLED = {"site-packages", "dist-packages"}


@functools.lru_cache(maxsize=2048)
def imported(source: Source, *, late: bool) -> frozenset[str]:
    """Dotted names of the modules that a module imports; `late`: also those inside functions.

    Imports under `if TYPE_CHECKING` are ignored.
    `from package import name` counts as the package, and as package.name if that is a module.
    """
    nodes = _ever(source.tree) if late else _at_import(source.tree.body)
    return frozenset(name for node in nodes for name in _names(node, source))


def is_own(package: str) -> bool:
    """Whether a top-level package is this one."""
    return package == _OWN


@functools.lru_cache(maxsize=256)
def is_users(package: str) -> bool:
    """Whether a top-level package is a user's own: neither this one, nor Python's, nor installed."""
    file = None if is_own(package) or package in sys.stdlib_module_names else module_file(package)
    return file is not None and not _INSTALLED & set(file.parts)


def reachable(modules: Iterable[str], *, late: bool, within: Callable[[str], bool] = is_own) -> set[str]:
    """`modules` and every module that they import, directly or indirectly, in top-level packages that pass `within`."""
    found: set[str] = set()
    waiting = [name for module in modules for name in _with_parents(module)]
    while waiting:
        module = waiting.pop()
        source = source_of(module) if module not in found else None
        if source is None:
            continue
        found.add(module)
        waiting += [
            name for one in imported(source, late=late) if within(one.partition(".")[0]) for name in _with_parents(one)
        ]
    return found


@functools.lru_cache(maxsize=256)
def is_light(module: str) -> bool:
    """Whether importing a module of ours loads nothing but the standard library and small packages."""
    outside: set[str] = set()
    for name in reachable([module], late=False):
        source = source_of(name)
        assert source is not None
        outside |= {one.partition(".")[0] for one in imported(source, late=False)}
    return module.partition(".")[0] == _OWN and outside <= _LIGHT | {_OWN} | sys.stdlib_module_names


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


def _names(node: ast.AST, source: Source) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = source.absolute(node)
        yield module
        yield from (f"{module}.{a.name}" for a in node.names if module_file(f"{module}.{a.name}") is not None)


def _words(node: ast.expr) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _ever(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that may ever run: all except TYPE_CHECKING blocks."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in _words(node.test):
            waiting += node.orelse
        else:
            yield node
            waiting += ast.iter_child_nodes(node)


def _at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What runs when a module is imported: not functions, TYPE_CHECKING blocks and `__name__ == "__main__"`."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and {"TYPE_CHECKING", "__name__"} & _words(statement.test):
            continue
        yield statement
        for part in ("body", "orelse", "finalbody", "handlers"):
            yield from _at_import(getattr(statement, part, []))

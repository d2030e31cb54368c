"""Runs a target's own checks for incompatible values before anything heavy is imported."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from hydra.utils import get_object

from sweeplora.config.imports import is_light
from sweeplora.config.sources import find_target, method, module_of
from sweeplora.errors import UserError


def check_rules(key: str, node: Mapping[str, Any]) -> None:
    """Raise the UserError that building a node's class would raise.

    A class whose module imports quickly is built. For any other class only `__post_init__` runs, compiled from its
    source; if that needs more of its module, the check happens in the training.
    """
    target = node["_target_"]
    found = find_target(target, f"{key}._target_")
    if found is None or not isinstance(found.node, ast.ClassDef):
        return
    if is_light(module_of(target)):
        get_object(target)(**arguments(node))
        return
    rule = method(found.node, "__post_init__")
    if rule is None:
        return
    names: dict[str, Any] = {"__builtins__": builtins, "UserError": UserError}
    exec(compile(ast.Module([rule], []), target, "exec"), names)
    try:
        names[rule.name](SimpleNamespace(**arguments(node)))
    except (NameError, AttributeError):
        return


def arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node's arguments, without the keys that Hydra reserves."""
    return {name: value for name, value in node.items() if not name.startswith("_")}

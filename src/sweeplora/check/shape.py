"""Checks names, types and ranges of every value of a configuration individually."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen

from sweeplora.config.binding import MISSING, node_errors, value_error
from sweeplora.config.compose import table_of_contents
from sweeplora.config.nearest import nearest
from sweeplora.config.rules import check_rules
from sweeplora.config.sources import is_class
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Group
from sweeplora.rundir.naming import check_template

_LARGEST = (1 << 63) - 1
_LONGEST_NAME = 120
"""Characters in a name: leaves room in a file name's 255 bytes for a run's additions and multi-byte characters."""

_PLAIN: dict[str, Any] = {
    "name": Annotated[str, MinLen(1)],
    "seed": Annotated[int, Ge(0), Le(_LARGEST)],
    "runs": Annotated[str, MinLen(1)],
    "reuse": bool,
    "keep_failed": bool,
    "file_name": Annotated[str, MinLen(1)],
    "sweep": dict[str, Any],
    "nightly": dict[str, Any] | None,
}
_SWEEP: dict[str, Any] = {
    "name": Annotated[str, MinLen(1)] | None,
    "objective": Annotated[str, MinLen(1)] | Annotated[list[str], MinLen(1)],
    "trials": Annotated[int, Ge(1), Le(1_000_000)] | None,
    "replicates": Annotated[int, Ge(1), Le(1000)],
    "confirm": dict[str, Any],
    "space": dict[str, Any],
    "constraints": list[str],
    "enqueue": list[dict[str, Any]],
    "warm_start": Annotated[str, MinLen(1)] | None,
    "extend": bool,
    "batch": Annotated[int, Ge(2)] | None,
}
_FILE_NAME = re.compile(r"[\w()+,=@-][\w()+,=@. -]*")
_CALLED = ("optimizer", "scheduler", "noise", "loss")
"""Groups whose target is called in training; a function needs `_partial_: true`."""


def frozen(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with each group frozen (hashable), so that results can be cached per group."""
    groups = table_of_contents().groups
    return {key: Group(value) if key in groups and isinstance(value, dict) else value for key, value in config.items()}


def check_shape(config: Mapping[str, Any]) -> None:
    """Raise UserError for all wrong names, types and ranges, checked against each `_target_`'s signature."""
    problems = Problems()
    note_shape(frozen(config), problems)
    problems.refuse()


def note_shape(config: Mapping[str, Any], problems: Problems) -> None:
    """Add what is wrong with the values of a frozen configuration."""
    known = table_of_contents()
    for key, value in config.items():
        if key not in known.groups and key not in known.keys:
            problems.add(UserError(key, value, f"no such key; {nearest(key, [*known.groups, *known.keys])}"))
    for key, kind in _PLAIN.items():
        errors = list(_errors_of_any_type(key, config[key]))
        for error in errors:
            problems.add(error)
        if not errors:
            _note(problems, _plain_error(key, config[key], kind))
    for key, value in config["sweep"].items() if isinstance(config["sweep"], Mapping) else ():
        if key in _SWEEP:
            _note(problems, _plain_error(f"sweep.{key}", value, _SWEEP[key]))
        else:
            problems.add(UserError(f"sweep.{key}", value, f"no such key; {nearest(key, list(_SWEEP))}"))
    _note(problems, _name_error("name", config["name"]))
    _note(problems, _template_error(config["file_name"]))
    _note(problems, _name_error("sweep.name", config["sweep"]["name"]))
    for group in known.groups:
        for error in _group_errors(group, config[group]):
            problems.add(error)


def _note(problems: Problems, error: UserError | None) -> None:
    if error is not None:
        problems.add(error)


def _plain_error(key: str, value: object, kind: Any) -> UserError | None:
    return UserError(key, MISSING, f"give {key}=…") if value == MISSING else value_error(key, value, kind)


def _template_error(template: object) -> UserError | None:
    try:
        if isinstance(template, str):
            check_template(template)
    except UserError as error:
        return error
    return None


def _name_error(key: str, value: object) -> UserError | None:
    if not isinstance(value, str) or not value:
        return None
    if not _FILE_NAME.fullmatch(value):
        return UserError(key, value, "it becomes a file's name; use letters, digits, - _ and dots")
    if len(value) > _LONGEST_NAME or len(value.encode()) > 2 * _LONGEST_NAME - 40:
        return UserError(key, value, f"it becomes a file's name; use at most {_LONGEST_NAME} letters")
    return None


def _group_errors(group: str, node: object) -> tuple[UserError, ...]:
    if not isinstance(node, Group) or "_target_" not in node:
        shown = dict(node) if isinstance(node, Group) else node
        return (UserError(group, shown, "holds no _target_; choose one of its files"),)
    return _node_errors(group, node)


@functools.lru_cache(maxsize=512)
def _node_errors(group: str, node: Group) -> tuple[UserError, ...]:
    partial = value_error(f"{group}._target_", node["_target_"], str) or _partial_error(group, node)
    if partial is not None:
        return (partial,)
    errors = {error.key: error for error in node_errors(group, node)}
    errors |= {error.key: error for error in _errors_of_any_type(group, node)}
    if errors:
        return tuple(errors.values())
    try:
        check_rules(group, node)
    except UserError as error:
        return error.each
    return ()


def _errors_of_any_type(key: str, value: object) -> Iterator[UserError]:
    """Values that no key accepts, of any type: infinities, numbers beyond 64 bits, text that no file can hold."""
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _errors_of_any_type(f"{key}.{name}", inner)
        case list():
            for index, inner in enumerate(value):
                yield from _errors_of_any_type(f"{key}[{index}]", inner)
        case float() if not math.isfinite(value):
            yield UserError(key, value, "expected a finite number")
        case int() if abs(value) > _LARGEST:
            yield UserError(key, value, "is beyond 64 bits; give a smaller number")
        case str() if "\0" in value or (not value.isascii() and _is_no_unicode(value)):
            yield UserError(key, value, "is no text that a file can hold; give it in UTF-8 and without NUL")


def _is_no_unicode(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _partial_error(group: str, node: Group) -> UserError | None:
    key, partial, target = f"{group}._partial_", node.get("_partial_", False), node["_target_"]
    if (wrong := value_error(key, partial, bool)) is not None:
        return wrong
    if group == "optimizer" and not partial:
        return UserError(key, partial, "an optimizer gets the network's parameters when a training begins; use true")
    if partial and group not in _CALLED:
        return UserError(key, partial, f"has no effect on {group}; leave it out")
    try:
        built_first = partial and group != "optimizer" and is_class(target, f"{group}._target_")
    except UserError as refused:
        return refused
    if built_first:
        return UserError(key, partial, f"{target} is a class, and its object is what is called; leave it out")
    return None

"""`trial.json` and `study.json` as plain data, for lists of thousands: of the records' shapes, or damaged.

To build the records themselves takes five times as long. The shapes are read from their types once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from sweeplora.rundir.files import is_intact
from sweeplora.rundir.record import StudyRecord, TrialRecord, renamed


class _Kind(NamedTuple):
    """What a value may be in JSON, and the values inside of it if it is a list or an object; a type or a record."""

    types: tuple[type, ...]
    inside: tuple[type, ...] | Mapping[str, Any] | None


def read_plain_trial(file: Path | str) -> dict[str, Any] | None:
    """A run's record; None if there is none or it is damaged."""
    return _read(file, TrialRecord)


def read_plain_study(file: Path | str) -> dict[str, Any] | None:
    """A study's record; None if there is none or it is damaged."""
    return _read(file, StudyRecord)


def _read(file: Path | str, record: type) -> dict[str, Any] | None:
    try:
        with open(file, "rb") as stream:  # quicker than Path's own reading, which counts for thousands of runs
            content = json.loads(stream.read())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not is_intact(content):
        return None
    shape = _shape(record)
    if _fits(content, shape):
        return content
    content = renamed(content)  # it may be an earlier version's
    return content if _fits(content, shape) else None


@cache
def _shape(record: type) -> Mapping[str, _Kind]:
    """What the fields of a record may hold."""
    return {name: _kind(hint) for name, hint in get_type_hints(record).items()}


def _kind(hint: Any) -> _Kind:
    types, inside = list[type](), None
    for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        origin, arguments = get_origin(part), get_args(part)
        if part is Any:
            types.append(object)
        elif origin is Literal:
            types += {type(value) for value in arguments}
        elif origin in (list, tuple):
            types.append(list)
            inside = _inside(arguments[0])
        elif origin is not None and issubclass(origin, Mapping):
            types.append(dict)
            inside = _inside(arguments[1])
        else:
            types += (int, float) if part is float else (part,)
    return _Kind(tuple(types), inside)


def _inside(hint: Any) -> tuple[type, ...] | Mapping[str, _Kind]:
    return _shape(hint) if is_dataclass(hint) and isinstance(hint, type) else _kind(hint).types


def _fits(content: Mapping[str, Any], shape: Mapping[str, _Kind]) -> bool:
    """Whether every known key holds what it may; null stands for a default."""
    for key, (types, inside) in shape.items():
        value = content.get(key)
        if value is None:
            continue
        if not isinstance(value, types) or (inside is not None and not _all_fit(value, inside)):
            return False
    return True


def _all_fit(value: Any, inside: tuple[type, ...] | Mapping[str, _Kind]) -> bool:
    """Whether what is in a list or an object is of one of the types, or of the record's shape."""
    if not isinstance(value, dict | list):
        return True
    values = value.values() if isinstance(value, dict) else value
    if isinstance(inside, tuple):
        return all(isinstance(one, inside) for one in values)
    return all(isinstance(one, dict) and _fits(one, inside) for one in values)

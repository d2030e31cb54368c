"""Whether a config node fits what it targets: names, types and ranges, before anything is imported."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sweeplora.config.annotations import describe
from sweeplora.config.nearest import nearest
from sweeplora.config.signatures import Signature, signature_of
from sweeplora.errors import UserError

_HYDRA = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")
MISSING = "???"


def check_node(key: str, node: Mapping[str, Any]) -> None:
    """Raise UserError for the first thing in a node with a `_target_` that its target would not take.

    `key` is the node's dotted name. Arguments that a `_partial_` node lacks are its caller's to give.
    """
    target = node["_target_"]
    check_value(f"{key}._target_", target, str)
    given = {name: value for name, value in node.items() if name not in _HYDRA}
    signature = signature_of(target, f"{key}._target_")
    for name, value in given.items():
        _check_given(f"{key}.{name}", value)
    if signature is None:
        return
    _check_names(key, given, signature, target)
    for name, value in given.items():
        if name in signature.parameters and not _is_node(value):
            check_value(f"{key}.{name}", value, signature.parameters[name].type)
    if not node.get("_partial_", False):
        _check_complete(key, given, signature, target)


def check_value(key: str, value: object, kind: Any) -> None:
    """Raise UserError unless a config's value has the type: true is no number, nor is "3", and 3 is 3.0."""
    if kind is Any:
        return
    try:
        _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise UserError(key, _shown(value), f"expected {describe(kind)}") from error


@functools.lru_cache(maxsize=512)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # Opaque is no model of pydantic's; it accepts its own instances only, which no file can hold.
    return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))


def _check_given(key: str, value: object) -> None:
    if value == MISSING:
        raise UserError(key, MISSING, f"give {key}=…")
    if _is_node(value):
        assert isinstance(value, Mapping)
        check_node(key, value)


def _check_names(key: str, given: Mapping[str, Any], signature: Signature, target: str) -> None:
    for name, value in given.items():
        if name not in signature.parameters and not signature.open:
            known = list(signature.parameters)
            raise UserError(f"{key}.{name}", _shown(value), f"{target} takes no {name}; {nearest(name, known)}")


def _check_complete(key: str, given: Mapping[str, Any], signature: Signature, target: str) -> None:
    for name, parameter in signature.parameters.items():
        if parameter.required and name not in given:
            raise UserError(f"{key}.{name}", "", f"{target} needs it; give +{key}.{name}=…")


def _is_node(value: object) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)

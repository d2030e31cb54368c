"""Checks a config node against its target: names, types and ranges, before anything is imported."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sweeplora.config.annotations import describe
from sweeplora.config.nearest import nearest
from sweeplora.config.signatures import Signature, signature_of
from sweeplora.errors import UserError, UserErrors

_OURS = ("_recursive_", "_convert_", "_args_")
"""Keys that Hydra reserves, and that have no effect or are set when a node is built."""

# _facts_: what a search says of itself; see sweep/search/facts.py.
_HYDRA = ("_target_", "_partial_", "_facts_", *_OURS)
MISSING = "???"


def check_node(key: str, node: Mapping[str, Any]) -> None:
    """Raise UserError for everything in a node with a `_target_` that its target would not accept.

    `key` is the node's dotted name. The caller supplies arguments that a `_partial_` node lacks.
    """
    errors = list(node_errors(key, node))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserErrors(errors)


def node_errors(key: str, node: Mapping[str, Any]) -> Iterator[UserError]:
    """What is wrong in a node, inner nodes first."""
    target = node["_target_"]
    wrong_target = value_error(f"{key}._target_", target, str)
    if wrong_target is not None:
        yield wrong_target
        return
    yield from _errors_of_hydra_keys(key, node)
    given = {name: value for name, value in node.items() if name not in _HYDRA}
    for name, value in given.items():
        yield from _errors_inside(f"{key}.{name}", value)
    try:
        signature = signature_of(target, f"{key}._target_")
    except UserError as refused:
        yield refused
        return
    if signature is not None:
        yield from _errors_of_arguments(key, given, signature, target)
        if not node.get("_partial_", False):
            yield from _missing(key, given, signature, target)


def check_value(key: str, value: object, kind: Any) -> None:
    """Raise UserError unless a config value has the type: true and "3" are not numbers, but 3 is a valid float."""
    error = value_error(key, value, kind)
    if error is not None:
        raise error


def value_error(key: str, value: object, kind: Any) -> UserError | None:
    """What is wrong with a value; None if it has the type."""
    if kind is Any:
        return None
    try:
        _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return UserError(key, _shown(value), f"expected {describe(kind)}")
    return None


@functools.lru_cache(maxsize=512)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # Opaque is not a pydantic model; it accepts only its own instances, which no file can hold.
    return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))


def _errors_of_hydra_keys(key: str, node: Mapping[str, Any]) -> Iterator[UserError]:
    for name in _OURS:
        if name in node:
            yield UserError(f"{key}.{name}", _shown(node[name]), "has no effect; leave it out")
    partial = value_error(f"{key}._partial_", node.get("_partial_", False), bool)
    if partial is not None:
        yield partial


def _errors_of_arguments(key: str, given: Mapping[str, Any], signature: Signature, target: str) -> Iterator[UserError]:
    for name, value in given.items():
        if name not in signature.parameters:
            if not signature.open:
                mend = f"{target} takes no {name}; {nearest(name, list(signature.parameters))}"
                yield UserError(f"{key}.{name}", _shown(value), mend)
        elif not _is_node(value) and value != MISSING:
            wrong = value_error(f"{key}.{name}", value, signature.parameters[name].type)
            if wrong is not None:
                yield wrong


def _missing(key: str, given: Mapping[str, Any], signature: Signature, target: str) -> Iterator[UserError]:
    for name, parameter in signature.parameters.items():
        if parameter.required and name not in given:
            yield UserError(f"{key}.{name}", "", f"{target} needs it; give +{key}.{name}=…")


def _errors_inside(key: str, value: object) -> Iterator[UserError]:
    if value == MISSING:
        yield UserError(key, MISSING, f"give {key}=…")
    elif _is_node(value):
        assert isinstance(value, Mapping)
        yield from node_errors(key, value)


def _is_node(value: object) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)

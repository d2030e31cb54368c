"""A recorded configuration used again: with its paths where they are now, and with some values changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeplora.config import catalog
from sweeplora.config.compose import compose, dotted
from sweeplora.config.nearest import nearest
from sweeplora.errors import UserError
from sweeplora.overrides import parse
from sweeplora.rundir.signature import UNSIGNED


def moved(value: Any, paths: Mapping[str, str]) -> Any:
    """A tree of values with every text that is one of `paths`, or lies below one, replaced by its new place."""
    if isinstance(value, Mapping):
        return {key: moved(inner, paths) for key, inner in value.items()}
    if isinstance(value, list):
        return [moved(inner, paths) for inner in value]
    if not isinstance(value, str):
        return value
    if value in paths:
        return paths[value]
    above = next((old for old in paths if value.startswith(f"{old.rstrip('/')}/")), None)
    return value if above is None else paths[above] + value.removeprefix(above.rstrip("/"))


def completed(recorded: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A configuration of an earlier version with the keys that have come since, and their dotted names.

    A key that its group lacks has the value that the shipped choice with the same target has today.
    """
    config, added = copy.deepcopy(dict(recorded)), list[str]()
    today = compose([]).config
    for key, value in today.items():
        if key not in config:
            config[key] = value
            added.append(key)
    choices = catalog.groups(Path.cwd())
    for group, names in choices.items():
        node = config.get(group)
        if not isinstance(node, dict) or "_target_" not in node:
            continue
        now = _same_target(node, today[group], group, names) or {}
        for key in [key for key in now if key not in node]:
            node[key] = now[key]
            added.append(f"{group}.{key}")
    return config, added


def _same_target(node: Mapping[str, Any], usual: Any, group: str, names: Sequence[str]) -> dict[str, Any] | None:
    """Today's node of a group with the same target as a recorded one; its usual choice is looked at first."""
    if usual.get("_target_") == node["_target_"]:
        return dict(usual)
    for name in names:
        try:
            found = compose([f"{group}={name}"]).config[group]
        except UserError:
            continue
        if found.get("_target_") == node["_target_"]:
            return dict(found)
    return None


def changed(recorded: Mapping[str, Any], words: Sequence[str], again: Mapping[str, Any] | None) -> dict[str, Any]:
    """A recorded configuration with overrides on top. Raises UserError for a key that it does not have.

    `again`: what the words that led to the recorded configuration compose to with these overrides, None if they lead
    elsewhere today. It is preferred, because a value that follows from another one then follows the changed one.
    """
    if again is not None:
        return dict(again)
    config: dict[str, Any] = copy.deepcopy(dict(recorded))
    for word in words:
        _apply(word, config)
    return config


def composed_again(
    recorded: Mapping[str, Any], base: Sequence[str], proposed: Sequence[str], words: Sequence[str]
) -> dict[str, Any] | None:
    """What a run's words and some more compose to; None unless without the latter they still give the recorded values.

    Keys that do not change a result are not compared.
    """
    try:
        today = compose(base, proposed).config
        return compose(base, [*proposed, *words]).config if _signed(today) == _signed(recorded) else None
    except UserError:
        if not words:
            return None
        _expect_known(recorded, words)
        return None


def _signed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in UNSIGNED}


def _expect_known(config: Mapping[str, Any], words: Sequence[str]) -> None:
    for word in words:
        _apply(word, copy.deepcopy(dict(config)))


def _apply(word: str, config: dict[str, Any]) -> None:
    override = parse(word)
    key, value = override.key_or_group, override.value()
    groups = catalog.groups(Path.cwd())
    if override.is_delete() or override.is_sweep_override():
        raise UserError(key, word, "give one value: key=value")
    if key in groups and not isinstance(value, dict):
        config[key] = compose([word]).config[key]
        return
    *parents, last = key.split(".")
    tree: Any = config
    for part in parents:
        tree = tree.get(part) if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or (last not in tree and not override.is_add()):
        raise UserError(key, word.partition("=")[2], f"no such key; {nearest(key, list(dotted(config)))}")
    tree[last] = value

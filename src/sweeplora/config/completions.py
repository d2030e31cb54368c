"""What can stand on a command line of overrides, for completion: read from the files alone, in hundredths of a second.

Hydra has a completion of its own; it needs an application under `hydra.main`, composes at every TAB, and knows neither
the files of sweeps/ nor the verbs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sweeplora.config import catalog
from sweeplora.rundir.yaml_text import read_yaml

_SWEEP = "+sweep"
_MOST_PARENTS = 8


def completions(words: Sequence[str], here: Path) -> list[str]:
    """What the last of the words can be, beginning with what is there of it; the words before it are complete.

    Groups with their choices, keys, the files of sweeps/, and true or false. A key's group holds the keys of the choice
    that the other words or the sweep's file make, else of the default one.
    """
    current = words[-1] if words else ""
    groups = catalog.groups(here)
    key, sign, _ = current.partition("=")
    if key == _SWEEP and sign:
        found = [f"{_SWEEP}={name}" for name in catalog.sweeps(here)]
    elif key in groups and sign:
        found = [f"{key}={choice}" for choice in groups[key]]
    elif sign:
        found = [f"{key}={one}" for one in _values(key, words[:-1], here)]
    else:
        found = [*_keys(current, words[:-1], here), *([f"{_SWEEP}="] if "." not in current else [])]
    return [one for one in found if one.startswith(current)]


def _keys(current: str, others: Sequence[str], here: Path) -> Iterator[str]:
    """Groups and top-level keys; once a dot is there, every key of its group."""
    top, dot, _ = current.partition(".")
    config = _read(_file("config", here))
    if not dot:
        for group in sorted(catalog.groups(here)):
            yield from (f"{group}=", f"{group}.")
        for key, inner in config.items():
            if key != "defaults":
                yield f"{key}." if isinstance(inner, Mapping) else f"{key}="
        return
    node = config[top] if isinstance(config.get(top), Mapping) else _group(top, others, here)
    yield from (f"{top}.{key}=" for key, _ in _leaves(node))


def _values(key: str, others: Sequence[str], here: Path) -> list[str]:
    """true and false for a key that is one of them now; nothing is known of the others."""
    top, _, rest = key.partition(".")
    config = _read(_file("config", here))
    if not rest:
        now = config.get(top)
    else:
        node = config[top] if isinstance(config.get(top), Mapping) else _group(top, others, here)
        now = dict(_leaves(node)).get(rest)
    return ["true", "false"] if isinstance(now, bool) else []


def _group(group: str, others: Sequence[str], here: Path) -> dict[str, Any]:
    """The keys of a group's choice, with those of the files that it builds on."""
    return _merged(f"{group}/{_choice(group, others, here)}", here, _MOST_PARENTS)


def _choice(group: str, others: Sequence[str], here: Path) -> str:
    given = dict(word.partition("=")[::2] for word in others)
    if group in given:
        return given[group]
    sweep = catalog.sweeps(here).get(given.get(_SWEEP, ""))
    chosen = _defaults(_read(_file("config", here))) | (_defaults(_read(sweep)) if sweep is not None else {})
    return chosen.get(group, "")


def _defaults(content: Mapping[str, Any]) -> dict[str, str]:
    """The choices that a file's defaults list makes, by group."""
    entries = content.get("defaults")
    pairs = [pair for entry in entries or () if isinstance(entry, Mapping) for pair in entry.items()]
    return {str(key).removeprefix("override ").strip().lstrip("/"): str(value) for key, value in pairs}


def _merged(path: str, here: Path, depth: int) -> dict[str, Any]:
    """A file of conf/ by its path without suffix, on top of those that its defaults list names."""
    content = _read(_file(path, here))
    merged: dict[str, Any] = {}
    for entry in (content.get("defaults") or ()) if depth else ():
        if isinstance(entry, str) and entry != "_self_":
            name = entry.partition("@")[0]
            inner = name if name.startswith("/") else f"{path.rpartition('/')[0]}/{name}"
            merged |= _merged(inner.lstrip("/"), here, depth - 1)
    return merged | {key: value for key, value in content.items() if key != "defaults"}


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that can be set, by its dotted name, with its value; Hydra's own keys excepted."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif not str(key).startswith("_"):
            yield f"{prefix}{key}", value


def _file(path: str, here: Path) -> Path:
    """A file of conf/ by its path without suffix: the user's own before the shipped one."""
    files = [folder / f"{path}.yaml" for folder in catalog.folders("conf", here)]
    return next((file for file in files if file.is_file()), files[-1])


def _read(file: Path) -> dict[str, Any]:
    """A YAML file's mapping; empty for one that cannot be read, which composing will report."""
    try:
        content = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}

"""The files of conf/ as data: what their comments say of each key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

_UNSHOWN = ("_partial_", "_facts_", "defaults")


class Entry(NamedTuple):
    """A key in a file, its default as written, and what the comment beside it says."""

    key: str
    default: str
    meaning: str


class ConfFile(NamedTuple):
    """A file of conf/: its header comment, the files that it builds on, its class and its keys."""

    name: str
    header: str
    bases: tuple[str, ...]
    target: str
    entries: tuple[Entry, ...]


def read(file: Path, conf: Path) -> ConfFile:
    """Read a file below the folder `conf`; its name is its path there, without the ending."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode), file
    entries = tuple(_entries(root, text, lines, ""))
    target = next((entry.default for entry in entries if entry.key == "_target_"), "")
    group = "" if file.parent == conf else file.parent.relative_to(conf).as_posix() + "/"
    shown = tuple(entry for entry in entries if entry.key != "_target_")
    return ConfFile(f"{group}{file.stem}", _header(lines), tuple(_bases(root, group)), target, shown)


def choices_in(root_file: Path) -> dict[str, tuple[str, str]]:
    """Group -> its default choice and what the comment beside it says, in the order of config.yaml's defaults list."""
    text = root_file.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for item in _defaults(yaml.compose(text)):
        if isinstance(item, yaml.MappingNode):
            key, value = item.value[0]
            found[str(key.value)] = (str(value.value), _comment(lines, value.end_mark.line, value.end_mark.column))
    return found


def _entries(node: yaml.MappingNode, text: str, lines: list[str], prefix: str) -> Iterator[Entry]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in _UNSHOWN or key.value == "_partial_":
            continue
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            said = _comment(lines, key.end_mark.line, key.end_mark.column + 1)
            if said:
                yield Entry(name, "", said)
            yield from _entries(value, text, lines, f"{name}.")
            continue
        default = text[value.start_mark.index : value.end_mark.index].strip() or "null"
        yield Entry(name, default, _comment(lines, value.end_mark.line, value.end_mark.column))


def _comment(lines: list[str], line: int, column: int) -> str:
    """The comment behind a value, and the lines below it that hold nothing but a comment."""
    rest = lines[line][column:].strip() if line < len(lines) else ""
    if not rest.startswith("#"):
        return ""
    parts = [rest]
    for below in lines[line + 1 :]:
        if not below.lstrip().startswith("#") or not below.startswith(" "):
            break
        parts.append(below.strip())
    return " ".join(part.lstrip("#").strip() for part in parts)


def _header(lines: list[str]) -> str:
    """The comment at a file's head, without Hydra's line."""
    said = []
    for line in lines:
        if not line.startswith("#"):
            break
        if "@package" not in line:
            said.append(line.lstrip("#").strip())
    return "\n".join(said)


def _bases(root: yaml.MappingNode, group: str) -> Iterator[str]:
    for item in _defaults(root):
        if isinstance(item, yaml.ScalarNode) and item.value != "_self_":
            name = str(item.value).partition("@")[0]
            yield name.lstrip("/") if name.startswith("/") else f"{group}{name}"


def _defaults(root: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "defaults" and isinstance(value, yaml.SequenceNode):
                return list(value.value)
    return []

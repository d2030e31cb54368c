"""The file that a conversion writes, in the format of `sweeps/`: choices of groups, then values."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sweeplora.convert.conversion import Conversion
from sweeplora.convert.entries import settings
from sweeplora.convert.group_order import group_order
from sweeplora.convert.reading.flags import FLAGS

_WIDTH = 112
_WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
_REFERENCE = re.compile(r"(\\*)\$\{")
_LIKE_A_NUMBER = re.compile(r"[+-]?[\d_.]+([eE][+-]?\d+)?")
_SECRET = re.compile(r"(token|api_key|secret|password)$")


class _Dumper(yaml.SafeDumper):
    """Writes mappings one key per line, and lists of numbers and strings on one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        """Write a list; a list of mappings spans several lines."""
        return super().represent_sequence(tag, sequence, not any(isinstance(one, dict) for one in sequence))

    def ignore_aliases(self, data: Any) -> bool:
        """Never write YAML aliases."""
        return True


def _represent_text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    """Quote a string that Hydra's loader, unlike PyYAML's, would read as a number: 1e5."""
    style = "'" if _LIKE_A_NUMBER.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)


def text(conversion: Conversion, name: str, search: str | None = None) -> str:
    """The whole file; `name` is the one that `+sweep=name` selects it by, `search` that of the search around it."""
    return f"# @package _global_\n{_header(conversion, name, search)}{written(settings(conversion.entries))}"


def written(values: Mapping[str, Any]) -> str:
    """Choices of groups as a defaults list, then the other values as a tree."""
    groups = group_order()
    defaults = "\n".join(f"  - override /{group}: {values[group]}" for group in groups if group in values)
    tree = nested({key: value for key, value in values.items() if key not in groups})
    order = (*(key for key in tree if key not in groups), *(group for group in groups if group in tree))
    ordered = {key: tree[key] for key in order}
    body = yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return f"defaults:\n{defaults}\n{body}"


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as a tree; a leading plus, which only a command line needs, is dropped."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *groups, last = key.removeprefix("+").split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = _plain(value)
    return tree


def shown(words: Sequence[str]) -> str:
    """A command for display: words with spaces are quoted, secrets are left out."""
    found: list[str] = []
    hide = False
    for word in words:
        flag, joined, _ = word.lstrip("-").partition("=")
        secret = word.startswith("--") and is_secret(flag)
        if hide and not word.startswith("--"):
            found.append("…")
        elif secret and joined:
            found.append(f"--{flag}=…")
        else:
            found.append(f'"{word}"' if not word or any(c.isspace() or c in "|&;#" for c in word) else word)
        hide = secret and not joined
    return " ".join(found)


def is_secret(flag: str) -> bool:
    """Whether a flag's value is secret, such as a token or a key; the flag may be abbreviated."""
    name = flag.lstrip("-")
    full = [known for known in FLAGS if known.startswith(name)]
    return _SECRET.search(full[0] if len(full) == 1 else name) is not None


def _header(conversion: Conversion, name: str, search: str | None) -> str:
    command = conversion.command
    whole = shown([*command.launcher, command.script, *command.words])
    lines = [
        f"# One training, converted from a command of sd-scripts ({command.script}).",
        f"# Run it with: python -m sweeplora +sweep={name}",
        *(
            []
            if search is None
            else [f"# To search around it, these settings first: python -m sweeplora +sweep={search}"]
        ),
        f"# What became of each flag: {name}.conversion.md. The command was:",
        *textwrap.wrap(whole, _WIDTH, initial_indent="#   ", subsequent_indent="#   ", **_WHOLE),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _plain(value: Any) -> Any:
    """The value as written to YAML; `${` in a string is escaped, since it would be read as an interpolation."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: f"{found[1] * 2}\\${{", value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value

"""Which emoji the base model learns, and the caption of each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("emoji.toml").read_text("utf-8"))
FORMAL_WORDS = frozenset({"sign", "symbol", "large", "heavy", "front-facing"})


@dataclass(frozen=True)
class Subject:
    """One emoji: its short name, its picture file in the packages and its caption's tags."""

    short_name: str
    image: str
    tags: tuple[str, ...]

    @property
    def caption(self) -> str:
        """The tags in their usual order, the name first."""
        return ", ".join(self.tags)


def listed(table: str) -> list[str]:
    """The short names of a list in emoji.toml."""
    names: str = TABLES[table]
    return names.split()


def select_subjects(metadata: Iterable[dict[str, Any]]) -> list[Subject]:
    """The emoji that the base model learns, in the order of their picture files."""
    learned = {name for group in TABLES["groups"].values() for name in group["learned"].split()}
    chosen = [as_subject(entry) for entry in metadata if entry["short_name"] in learned]
    return sorted(chosen, key=lambda subject: subject.image)


def named_subjects(metadata: Iterable[dict[str, Any]], names: Iterable[str]) -> list[Subject]:
    """The emoji of these short names, in their order."""
    known = {entry["short_name"]: entry for entry in metadata}
    return [as_subject(known[name]) for name in names]


def as_subject(entry: dict[str, Any]) -> Subject:
    """One record of emoji.json as a subject with its caption."""
    name = TABLES["renamed"].get(entry["short_name"], plain_name(entry["name"]))
    group = TABLES["groups"].get(entry["subcategory"], {"tags": []})
    return Subject(entry["short_name"], entry["image"], (name, *group["tags"]))


def plain_name(name: str) -> str:
    """A Unicode character name as a short lower-case tag without commas or formal words."""
    words = re.sub(r"[^a-z0-9\- ]+", " ", name.lower().replace("womans", "woman")).split()
    return " ".join(word for word in words if word not in FORMAL_WORDS)

"""sd-scripts' flags by key, read from the tables of docs/guide.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_ROW = re.compile(r"\| [A-Z]\d")


class Flag(NamedTuple):
    """A row of the guide: sd-scripts' flags as Markdown with a link to the row's section, and the choice it needs."""

    text: str
    choice: str


Flags = dict[str, list[Flag]]
"""Key -> its rows; keys without a flag are absent."""


def flags_by_key(guide: Path) -> Flags:
    """The rows of the guide by key. Links are relative to a page in `reference/configuration/`."""
    found: Flags = {}
    anchor = ""
    for line in guide.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            anchor = re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        if _ROW.match(line):
            row, flags, cell = (one.strip() for one in re.split(r"(?<!\\)\|", line)[1:4])
            key, *choices = re.findall(r"`([^`]*)`", cell)
            if "`" in flags:
                found.setdefault(key, []).append(Flag(f"{flags} ([{row}](../../guide.md#{anchor}))", "".join(choices)))
    return found


def flags_of(key: str, choice: str, flags: Flags) -> str:
    """A key's flags under one choice (`network=lokr`): rows that need another are left out where one needs none."""
    rows = flags.get(key, [])
    fitting = [row for row in rows if row.choice in ("", choice)] or rows
    return "; ".join(row.text for row in fitting)

"""Plain text as Markdown that shows it as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CODE = re.compile(r"(`[^`]*`)")


def prose(text: str) -> str:
    """Text for a paragraph: angle brackets and stars outside of code are shown and not obeyed."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def cell(text: str) -> str:
    """Text for a cell of a table: on one line, its bars escaped."""
    return prose(" ".join(text.split())).replace("|", "\\|")


def code(text: str) -> str:
    """Text as code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The lines of a table whose cells are Markdown already."""
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def bars_in_code(markdown: str) -> str:
    """A page in which an escaped bar in a table's code is a bar, as on a forge; Python-Markdown keeps the backslash."""
    lines = markdown.split("\n")
    return "\n".join(_CODE.sub(_with_bar, line) if line.startswith("|") else line for line in lines)


def _with_bar(found: re.Match[str]) -> str:
    text = found[0]
    if "\\|" not in text:
        return text
    plain = text[1:-1].replace("&", "&amp;").replace("<", "&lt;").replace("\\|", "&#124;")
    return f"<code>{plain}</code>"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")

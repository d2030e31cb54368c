"""The pages as tests read them: files that they show, commands that they tell people to type, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from sweeplora.config.catalog import shipped

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
TELLING = [page for page in PAGES if page.name not in ("CHANGELOG.md", "own-parts.md", "own-networks.md")]
"""Pages whose commands people type; those on parts of one's own have tests that train with them."""

SDXL = shipped("assets") / "models" / "emoji-xl"
"""Stands for the model of full size that the pages name."""

_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_START = "python -m sweeplora"


class Said(NamedTuple):
    """A command after `$`, and what the page says that it prints."""

    words: list[str]
    output: str


def named(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """The code blocks of a page: language and text."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))]


def files(page: Path) -> dict[str, str]:
    """The files that a page shows: code blocks whose first line is a comment with a path."""
    found = {}
    for language, text in blocks(page):
        first, _, rest = text.partition("\n")
        match = re.fullmatch(r"# ([\w./-]+\.(?:py|yaml))", first)
        if language in ("python", "yaml") and match:
            found[match[1]] = rest
    return found


def commands(page: Path) -> list[list[str]]:
    """The words after `python -m sweeplora` of every command in a page's blocks of shell lines; no line of usage."""
    found = []
    for language, text in blocks(page):
        if language in ("sh", "bash", ""):
            lines = text.replace("\\\n", " ").splitlines()
            found += [_words(line) for line in lines if line.strip().startswith(_START) and " [" not in line]
    return [words for number, words in enumerate(found) if words not in found[:number]]


def said(page: Path) -> list[Said]:
    """The commands that a page shows behind `$` with what they print, as far as their block goes."""
    found = []
    for _, text in blocks(page):
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            if line.startswith(_START):
                found.append(Said(_words(line), output.rstrip("\n")))
    return found


def _words(line: str) -> list[str]:
    return shlex.split(line.strip().removeprefix(_START), comments=True)

"""The pages of the site that are no files of docs/: the generated ones, and those at the repository's root."""

from __future__ import annotations

import re
from pathlib import Path

from tools.docs_site import configuration, docstrings, verbs

AT_THE_ROOT = {"index.md": "README.md", "ARCHITECTURE.md": "", "CONTRIBUTING.md": "", "CHANGELOG.md": ""}
"""Address in the site -> the file at the repository's root; empty: the same name."""


def pages(root: Path) -> dict[str, str]:
    """Address in the site -> Markdown."""
    moved = {
        address: from_the_root((root / (name or address)).read_text(encoding="utf-8"))
        for address, name in AT_THE_ROOT.items()
    }
    made = {"reference/sweeps.md": configuration.sweeps_page(root), "reference/command-line.md": verbs.page(root)}
    return {**moved, **made, **configuration.pages(root), **docstrings.pages(root)}


def from_the_root(markdown: str) -> str:
    """A file of the repository's root as a page: links into docs/ lead to the pages beside it."""
    return re.sub(r"\]\(docs/", "](", markdown).replace("](README.md", "](index.md")


def from_docs(markdown: str, address: str) -> str:
    """A file of docs/ as a page: links to files at the repository's root lead to their pages."""
    up = "../" * address.count("/")
    for page, name in AT_THE_ROOT.items():
        markdown = markdown.replace(f"]({up}../{name or page}", f"]({up}{page}")
    return markdown

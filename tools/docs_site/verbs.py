"""The reference of the command line, from the verbs' own --help."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from sweeplora import __main__ as command_line
from sweeplora.commands import summary, verbs

_WIDTH = "100"


def page(root: Path) -> str:
    """The help of `python -m sweeplora` and of each of its verbs."""
    lines = ["# Command line", "", "What `--help` prints; generated from it.", "", "## python -m sweeplora", ""]
    lines += ["```text", help_of([]), "```", ""]
    for verb, file in verbs(root).items():
        lines += [f"## {verb}", "", f"{summary(file)}", "", "```text", help_of([verb]), "```", ""]
    return "\n".join(lines)


def help_of(words: list[str]) -> str:
    """What a command prints for `--help`."""
    said = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        with contextlib.redirect_stdout(said):
            command_line.main([*words, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return said.getvalue().rstrip()

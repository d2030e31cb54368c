"""Convert an sd-scripts training to a file of sweeps/: from its command, or from the script that contains it."""

from __future__ import annotations

from argparse import REMAINDER
from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.errors import UserError

_EXAMPLE = "python -m sweeplora convert --output sweeps/mine.yaml train.sh"


def main(words: list[str]) -> int:
    """Convert the given command or script; returns 0, or 1 if the file is written but lacks part of the command."""
    from sweeplora.convert.command import take_over

    parser = Parser("convert", __doc__ or "", _EXAMPLE)
    parser.add_argument("--output", type=_yaml, metavar="FILE", help="where to write; sweeps/NAME.yaml by default")
    parser.add_argument("--force", action="store_true", help="replace a file that is already there")
    parser.add_argument("--command", type=_count, metavar="N", help="which of several trainings in a script")
    parser.add_argument("source", nargs=REMAINDER, help="a script, a quoted command, or -- and a command's words")
    asked = parser.parse_args(words)
    if not asked.source:
        raise UserError("command line", "convert", f"give a script or a command; see {parser.prog} --help")
    return take_over(asked.source, asked.output, asked.command, force=asked.force)


def _yaml(text: str) -> Path:
    if not text.endswith(".yaml"):
        raise UserError("--output", text, "give the YAML file to write, e.g. --output sweeps/mine.yaml")
    return Path(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UserError("--command", text, "give the number of the training to convert, from 1 on")
    return int(text)

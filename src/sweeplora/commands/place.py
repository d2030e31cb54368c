"""Where a verb finds the runs, and the one that it is asked about: from its words, without Hydra."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sweeplora.commands import Parser
from sweeplora.errors import UserError
from sweeplora.rundir.places import refuse_unreachable


class One(NamedTuple):
    """The study or the run that a verb is asked about: the word that names it, and its folder."""

    word: str
    folder: Path


def parse_one(parser: Parser, words: list[str]) -> tuple[Namespace, One]:
    """The options of a verb that takes one `name` and further `words`, and what it is asked about.

    Raises UserError unless exactly one study or run is named.
    """
    from sweeplora.report.find import find_folder

    asked = parser.parse(words)
    runs, names = runs_if_given([asked.name, *asked.words])
    if len(names) != 1:
        parser.error("give one study or run")
    return asked, One(names[0], find_folder(runs, names[0]))


def split_runs(words: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder of all runs, absolute, and the words that are not `runs=FOLDER`.

    Without the word it is the `runs` of ./conf/config.yaml, else `runs`. Raises UserError if there is no such folder.
    """
    runs, others = runs_of(words)
    if not runs.is_dir():
        raise UserError("runs", runs, "there is no such folder; give runs=FOLDER")
    return runs, others


def runs_if_given(words: Sequence[str]) -> tuple[Path, list[str]]:
    """As `split_runs`, where words may name runs by paths of their own: only a folder that is given must be there."""
    runs, others = runs_of(words)
    return split_runs(words) if len(others) < len(words) else (runs, others)


def runs_of(words: Sequence[str]) -> tuple[Path, list[str]]:
    """As `split_runs`, for a folder that need not be there."""
    given = [word.partition("=")[2] for word in words if word.startswith("runs=")]
    signed = [word for word in words if word.lstrip("+~").partition("=")[0] == "runs" and word[0] in "+~"]
    if signed or "" in given:
        raise UserError("runs", signed[0] if signed else "", "give a folder, without a sign: runs=FOLDER")
    others = [word for word in words if not word.startswith("runs=")]
    named = given[-1] if given else _configured(Path("conf/config.yaml")) or "runs"
    refuse_unreachable("runs", named)
    return Path(named).absolute(), others


def _configured(file: Path) -> str | None:
    """The `runs` of a user's own config.yaml: one line of it, read without a YAML parser's tenth of a second."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.startswith("runs:")), "")
    value = said.removeprefix("runs:").partition(" #")[0].strip().strip("'\"")
    return value if value and "${" not in value else None

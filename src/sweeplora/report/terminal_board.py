"""The leaderboard in columns for a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from sweeplora.report.leaderboard import Leaderboard, table
from sweeplora.report.summaries import columns

_FIRST_TO_GO = ("at step", "best", "relative", "file", "±", "seeds", "time", "status", "mean", "rank")
"""Columns that a narrow terminal goes without, in this order: the report and leaderboard.md have them."""


def lines(board: Leaderboard, width: int | None = None) -> list[str]:
    """The leaderboard as lines, without the long names of folders and files.

    Where they are longer than `width` letters, keys are named by their last part, and columns that nobody needs to see
    which values did best are left out, as few as it takes.
    """
    header, rows = table(board)
    cells = [row[:-2] for row in (header, *rows)]
    if width is not None and _length(cells) > width:
        cells = narrowed([_last_parts(cells[0]), *cells[1:]], width, _FIRST_TO_GO)
    return columns(cells)


def narrowed(rows: Sequence[Sequence[str]], width: int | None, first_to_go: Sequence[str]) -> list[list[str]]:
    """A table whose first row is its header, without as many of the named columns as are too much for `width` letters.

    None is any width.
    """
    cells = [list(row) for row in rows]
    for name in first_to_go:
        if width is not None and _length(cells) > width and name in cells[0]:
            place = cells[0].index(name)
            cells = [row[:place] + row[place + 1 :] for row in cells]
    return cells


def terminal_width() -> int | None:
    """Letters in a line of the terminal; None where the output goes elsewhere and may be of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _last_parts(header: Sequence[str]) -> list[str]:
    """`network.dim` as `dim`, where no other column ends so."""
    last = [name.rpartition(".")[2] for name in header]
    return [short if last.count(short) == 1 else name for name, short in zip(header, last, strict=True)]


def _length(cells: Sequence[Sequence[str]]) -> int:
    return max(map(len, columns(cells)))

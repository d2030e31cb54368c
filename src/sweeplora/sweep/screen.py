"""What the user sees while trials run: a live table in a terminal, one plain line per event elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeplora.report.words import bare_values, clock, number
from sweeplora.sweep.supervise import Progress

_REFRESH_SECONDS = 1.0
_FIRST_LINE_SECONDS, _LINE_SECONDS = 30.0, 60.0
_WIDE = 110
"""Columns of a terminal that has room for a bar and for images per second."""
_FIRST_TO_GO = ("loss", "left", "state", "step")
"""Columns that a narrow terminal goes without, in this order, before anything is cut."""

_VALUES, _BAR, _BAR_WIDTH = "values", "bar", 12
_COLUMNS = ("trial", _VALUES, "state", "step", _BAR, "loss", "val/loss", "img/s", "left")
_NUMBERS = ("step", "loss", "val/loss", "img/s", "left")

_STYLES = {
    "complete": "green",
    "running": "bold",
    "starting": "dim",
    "pruned": "yellow",
    "failed": "red",
    "diverged": "red",
    "interrupted": "magenta",
}


@dataclass
class Row:
    """One trial on the screen; `steps` is its total number of steps, if known. `params` are the values `swept`."""

    title: str
    params: str
    state: str
    steps: int | None
    progress: Progress = field(default_factory=Progress)
    note: str = ""
    swept: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Display:
    """Everything to show: a heading, how many trials of the total ended, the best so far, the rows.

    `is_single`: it is one run, which is no trial.
    """

    heading: str
    total: int
    ended: int = 0
    best: str = ""
    rows: list[Row] = field(default_factory=list)
    is_single: bool = False


class Screen(Protocol):
    """Where a study or a single run reports its progress."""

    def event(self, line: str) -> None:
        """Report a change: one line, unless a table shows it."""

    def say(self, line: str) -> None:
        """Print a line in any case."""

    def show(self, display: Display) -> None:
        """Take the current state, to be drawn when a redraw is due."""

    def close(self) -> None:
        """Leave the last state on the screen."""


class PlainScreen:
    """No terminal: a line per event, and every so often one for each running trial."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        """When the next line of a trial is due, by its title."""

    def event(self, line: str) -> None:
        """Print it."""
        print(line, flush=True)

    def say(self, line: str) -> None:
        """Print it."""
        print(line, flush=True)

    def show(self, display: Display) -> None:
        """Print how far the running trials are, each half a minute after its start and then every minute."""
        now = self._clock()
        for row in display.rows:
            if row.state != "running":
                self._due.pop(row.title, None)
            elif now >= self._due.setdefault(row.title, now + _FIRST_LINE_SECONDS):
                self._due[row.title] = now + _LINE_SECONDS
                print(progress_line(row), flush=True)

    def close(self) -> None:
        """Do nothing."""


class LiveScreen:
    """A table that is redrawn about once a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._display: Display | None = None
        self._next = 0.0

    def event(self, line: str) -> None:
        """Do nothing: the table shows it."""
        self._next = 0.0

    def say(self, line: str) -> None:
        """Print it above the table."""
        self._console.print(Text(line), soft_wrap=True)

    def show(self, display: Display) -> None:
        """Redraw, unless the last drawing is recent."""
        self._display = display
        if time.monotonic() >= self._next:
            self._draw(display)
            self._next = time.monotonic() + _REFRESH_SECONDS

    def close(self) -> None:
        """Draw a last time and move the cursor below the table."""
        if self._live is not None and self._display is not None:
            self._draw(self._display)
            self._live.stop()
            self._live = None

    def _draw(self, display: Display) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, redirect_stderr=False)
            self._live.start()
        picture = drawn(display, self._console.height - 6, self._console.width)
        self._live.update(picture, refresh=True)


def open_screen() -> Screen:
    """The live table if standard output is a terminal that can move its cursor, else plain lines."""
    if not sys.stdout.isatty():
        return PlainScreen()
    console = Console()
    return PlainScreen() if console.is_dumb_terminal else LiveScreen(console)


def drawn(display: Display, most: int, width: int) -> Group:
    """The display as a rich renderable of that width with at most `most` rows: the running trials, the latest others.

    Where all of them have values of the same keys, the heading names the keys and the rows have the bare values.
    """
    counted = "" if display.is_single else f"  {display.ended}/{display.total} trials"
    heading = Text.assemble((display.heading, "bold"), counted)
    if display.best:
        heading.append(f"  best {display.best}", "green")
    rows = visible(display.rows, most)
    keys = {tuple(row.swept) for row in rows}
    shared = keys.pop() if len(keys) == 1 else ()
    name = " · ".join(key.rpartition(".")[2] for key in shared) or ("values" if any(row.params for row in rows) else "")
    cells = [_cells(row, bare_values(row.swept) if shared else row.params) for row in rows]
    heads = {column: name if column == _VALUES else column for column in _COLUMNS}
    if display.is_single:
        heads["trial"] = ""
    columns = _that_fit(heads, cells, width)
    table = Table(box=None, padding=(0, 1), expand=True)
    for column in columns:
        if column == _BAR:
            table.add_column("", width=_BAR_WIDTH)
        elif column == _VALUES:
            table.add_column(name, ratio=3, no_wrap=True, overflow="ellipsis")
        else:
            table.add_column(heads[column], no_wrap=True, justify="right" if column in _NUMBERS else "left")
    for row, of_row in zip(rows, cells, strict=True):
        table.add_row(*(_bar(row) if column == _BAR else of_row[column] for column in columns))
    return Group(heading, table)


def _that_fit(heads: Mapping[str, str], cells: Sequence[Mapping[str, Text]], width: int) -> list[str]:
    """The columns that a terminal of this width has room for, of those with these headings."""
    kept = [column for column in heads if width >= _WIDE or column not in (_BAR, "img/s")]
    for column in _FIRST_TO_GO:
        if sum(2 + max(cell_len(heads[one]), *(row[one].cell_len for row in cells)) for one in kept) > width:
            kept.remove(column)
    return kept


def progress_line(row: Row) -> str:
    """How far a trial is, on a line: step, loss, val/loss against the base model's, time left."""
    values = row.progress.values
    told = [f"step {row.progress.step}{f'/{row.steps}' if row.steps else ''}"]
    told += [f"{name} {number(values[name])}" for name in ("loss", "val/loss") if name in values]
    if "val/loss" in values and "val/relative" in values:
        told[-1] += f" ({100 * values['val/relative']:.1f} % of the base model's)"
    if (rest := left(row)) is not None:
        told.append(f"{clock(rest)} left")
    return f"{f'trial {row.title}: ' if row.title else ''}{', '.join(told)}"


def visible(rows: Sequence[Row], most: int) -> list[Row]:
    """The rows that fit, in their order: every running trial, then the latest."""
    by_need = sorted(range(len(rows)), key=lambda i: (rows[i].state not in ("running", "starting"), -i))
    return [rows[i] for i in sorted(by_need[: max(most, 1)])]


def left(row: Row) -> float | None:
    """Estimated seconds until the last step, at the speed so far."""
    pace = row.progress.seconds_a_step
    if row.state != "running" or pace is None or row.steps is None:
        return None
    return max(0, row.steps - row.progress.step) * pace


def _cells(row: Row, params: str) -> dict[str, Text]:
    """The cells of a row by column."""
    values, step = row.progress.values, row.progress.step
    told = {
        "trial": row.title,
        _VALUES: params,
        "state": f"{row.state} {row.note}".strip(),
        "step": f"{step}/{row.steps}" if row.steps else str(step),
        _BAR: " " * _BAR_WIDTH,
        "loss": number(values.get("loss")),
        "val/loss": number(values.get("val/loss")),
        "img/s": number(values.get("images_per_second")),
        "left": clock(left(row)),
    }
    return {
        column: Text(text, _STYLES.get(row.state, "") if column == "state" else "") for column, text in told.items()
    }


def _bar(row: Row) -> ProgressBar | str:
    return ProgressBar(total=row.steps, completed=row.progress.step) if row.steps else ""

"""What the user sees while trials run: a live table in a terminal, one plain line per event elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeplora.report.words import clock, number
from sweeplora.sweep.supervise import Progress

_REFRESH_SECONDS = 1.0
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
    """One trial on the screen; `steps` is its total number of steps, if known."""

    title: str
    params: str
    state: str
    steps: int | None
    progress: Progress = field(default_factory=Progress)
    note: str = ""


@dataclass
class Display:
    """Everything to show: a heading, how many trials of the total ended, the best so far, the rows."""

    heading: str
    total: int
    ended: int = 0
    best: str = ""
    rows: list[Row] = field(default_factory=list)


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
    """No terminal: a line per event."""

    def event(self, line: str) -> None:
        """Print it."""
        print(line, flush=True)

    def say(self, line: str) -> None:
        """Print it."""
        print(line, flush=True)

    def show(self, display: Display) -> None:
        """Do nothing: the events have been printed."""

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
        self._live.update(drawn(display, self._console.height - 6), refresh=True)


def open_screen() -> Screen:
    """The live table if standard output is a terminal, else plain lines."""
    return LiveScreen(Console()) if sys.stdout.isatty() else PlainScreen()


def drawn(display: Display, most: int) -> Group:
    """The display as a rich renderable with at most `most` rows: the running trials and the latest others."""
    heading = Text.assemble((display.heading, "bold"), f"  {display.ended}/{display.total} trials")
    if display.best:
        heading.append(f"  best {display.best}", "green")
    table = Table(box=None, padding=(0, 1), expand=True)
    table.add_column("trial", no_wrap=True)
    table.add_column("values", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    table.add_column("step", no_wrap=True, justify="right")
    table.add_column("", width=12)
    for name in ("loss", "val/loss", "img/s", "left"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in visible(display.rows, most):
        table.add_row(*_cells(row))
    return Group(heading, table)


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


def _cells(row: Row) -> list[Text | ProgressBar | str]:
    values, step = row.progress.values, row.progress.step
    bar: ProgressBar | str = ProgressBar(total=row.steps, completed=step) if row.steps else ""
    return [
        row.title,
        row.params,
        Text(f"{row.state} {row.note}".strip(), _STYLES.get(row.state, "")),
        f"{step}/{row.steps}" if row.steps else str(step),
        bar,
        number(values.get("loss")),
        number(values.get("val/loss")),
        number(values.get("images_per_second")),
        clock(left(row)),
    ]

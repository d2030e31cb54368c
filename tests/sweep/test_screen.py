from __future__ import annotations

from io import StringIO

from rich.console import Console

from sweeplora.report.words import clock, number, params_text
from sweeplora.rundir.metrics import Point
from sweeplora.sweep.screen import Display, Row, drawn, left, visible
from sweeplora.sweep.supervise import Progress


def row(title: str, state: str) -> Row:
    progress = Progress()
    for step in (1, 2, 3, 4):
        progress.take(Point(step, "val/loss", 1 / step, 100.0 + 2 * step))
    return Row(title, "dim=8", state, 10, progress)


def test_a_row_shows_step_loss_and_the_time_left() -> None:
    display = Display("rank_alpha", 12, 3, "0.25 (trial 1: dim=8)", [row("4", "running")])
    console = Console(file=StringIO(), width=120)
    console.print(drawn(display, 20))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "rank_alpha  3/12 trials  best 0.25 (trial 1: dim=8)" in text
    assert "4/10" in text and "0.25" in text and "0:12" in text
    assert left(row("4", "complete")) is None


def test_too_many_rows_leave_the_running_ones_and_the_latest() -> None:
    rows = [row("0", "running"), *(row(str(i), "complete") for i in range(1, 20))]
    assert [one.title for one in visible(rows, 4)] == ["0", "17", "18", "19"]


def test_numbers_and_times_are_short() -> None:
    assert [number(value) for value in (0.000123456, 12, None, "lion")] == ["0.0001235", "12", "-", "lion"]
    assert [clock(seconds) for seconds in (None, 5.2, 65, 3725)] == ["-", "0:05", "1:05", "1:02:05"]
    assert params_text({"network.dim": 8, "optimizer": "lion"}) == "dim=8 optimizer=lion"

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from sweeplora.report.words import clock, number, params_text
from sweeplora.rundir.metrics import Point
from sweeplora.sweep.screen import Display, LiveScreen, PlainScreen, Row, drawn, left, open_screen, visible
from sweeplora.sweep.supervise import Progress


class ATerminal(StringIO):
    """Text that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def row(title: str, state: str) -> Row:
    progress = Progress()
    for step in (1, 2, 3, 4):
        progress.take(Point(step, "val/loss", 1 / step, 100.0 + 2 * step))
    return Row(title, "dim=8", state, 10, progress)


def test_a_row_shows_step_loss_and_the_time_left() -> None:
    display = Display("rank_alpha", 12, 3, "0.25 (trial 1: dim=8)", [row("4", "running")])
    console = Console(file=StringIO(), width=120)
    console.print(drawn(display, 20, 120))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "rank_alpha  3/12 trials  best 0.25 (trial 1: dim=8)" in text
    assert "4/10" in text and "0.25" in text and "0:12" in text
    assert left(row("4", "complete")) is None


def shown(rows: list[Row], width: int) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(drawn(Display("ranks", 12, 3, rows=rows), 20, width))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_values_are_seen_at_80_columns_under_the_names_of_their_keys() -> None:
    rows = [row("4", "running"), row("11", "complete")]
    for one, dim in zip(rows, (8, 16), strict=True):
        one.swept = {"network.dim": dim, "network.alpha": 4, "optimizer.lr": 0.0003}
    lines = shown(rows, 80)
    assert "dim · alpha · lr" in lines[1] and "left" in lines[1]
    assert "8 · 4 · 0.0003" in lines[2] and "16 · 4 · 0.0003" in lines[3] and "0:12" in lines[2]
    rows[1].swept = {"optimizer": "lion"}
    assert "dim=8" in shown(rows, 80)[2]  # of several kinds, each value with its name


def test_without_a_terminal_a_line_every_so_often_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter(range(0, 200, 5))
    screen = PlainScreen(lambda: float(next(times)))
    one = row("4", "running")
    one.progress.values |= {"loss": 0.5, "val/relative": 0.75}
    for _ in range(40):
        screen.show(Display("ranks", 12, rows=[one, row("3", "complete")]))
    line = "trial 4: step 4/10, loss 0.5, val/loss 0.25 (75.0 % of the base model's), 0:12 left"
    assert capsys.readouterr().out.splitlines() == [line] * 3  # after 30 s, then every minute


def test_too_many_rows_leave_the_running_ones_and_the_latest() -> None:
    rows = [row("0", "running"), *(row(str(i), "complete") for i in range(1, 20))]
    assert [one.title for one in visible(rows, 4)] == ["0", "17", "18", "19"]


def test_numbers_and_times_are_short() -> None:
    assert [number(value) for value in (0.000123456, 12, None, "lion")] == ["0.0001235", "12", "-", "lion"]
    assert [clock(seconds) for seconds in (None, 5.2, 65, 3725)] == ["-", "0:05", "1:05", "1:02:05"]
    assert params_text({"network.dim": 8, "optimizer": "lion"}) == "dim=8 optimizer=lion"


def test_a_narrow_terminal_goes_without_columns_before_it_cuts_one() -> None:
    rows = [row("4", "running"), row("11.2", "complete")]
    for one, dim in zip(rows, (8, 16), strict=True):
        one.swept = {"network.dim": dim, "network.alpha": 4, "optimizer.lr": 0.003963}
        one.progress.values |= {"loss": 0.123456}
    lines = shown(rows, 40)
    assert lines[1].split() == ["trial", "dim", "·", "alpha", "·", "lr", "val/loss"]
    assert lines[2].split() == ["4", "8", "·", "4", "·", "0.003963", "0.25"]
    assert lines[3].split()[:2] == ["11.2", "16"] and "…" not in "".join(lines)
    assert "0:12" in shown(rows, 60)[2] and "0.1235" not in shown(rows, 60)[2]
    rows[0].swept, rows[1].swept = {"loss": "mse"}, {"loss": "huber"}  # a searched key called like a column
    assert shown(rows, 80)[2].split()[1:] == ["mse", "running", "4/10", "0.1235", "0.25", "0:12"]


def test_a_terminal_without_a_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", ATerminal())
    for kind, screen in (("dumb", PlainScreen), ("xterm", LiveScreen)):
        monkeypatch.setenv("TERM", kind)
        assert isinstance(open_screen(), screen)


def test_a_single_run_is_counted_as_no_trial() -> None:
    console = Console(file=StringIO(), width=80)
    console.print(drawn(Display("cats", 1, rows=[Row("", "", "running", 10)], is_single=True), 20, 80))
    assert isinstance(console.file, StringIO)
    assert "cats" in console.file.getvalue() and "trial" not in console.file.getvalue()

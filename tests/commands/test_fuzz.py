"""Whatever a command line says, it is answered in time and without a traceback."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from sweeplora.__main__ import main
from tests.commands.fuzz import command_lines

_HANG_SECONDS = 60
"""Without those in which the process stood ready and had no processor, as on a busy machine."""

_LOST_SECONDS = 600
"""Until a hang inside a library, which no handler of a signal interrupts, ends the tests with a stack."""

_REFUSED_LAST = "train.max_timestep=100000000"
"""Known to be wrong only when model, data and prompts were looked at: every stage runs, and no training."""


_LEFT = (["runs"], ["runs", "cache"])


class _TooLong(BaseException):
    """Passes through whatever catches an Exception."""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs that is there already, so that a check remembers its images from one line to the next."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def _waited() -> float:
    """Seconds for which this thread stood ready to run and had no processor."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise _TooLong in what computes or waits for longer, whatever it waits for."""
    began, waited = time.monotonic(), _waited()

    def look(_number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - began - (_waited() - waited) > seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise _TooLong

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    faulthandler.dump_traceback_later(_LOST_SECONDS, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """What is wrong with the answer to a command line, None if nothing is."""
    try:
        with _at_most(_HANG_SECONDS):
            code = main([*words, _REFUSED_LAST])
    except _TooLong:
        return "took too long"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    told = capsys.readouterr()
    if code not in (0, 1, 2):
        return f"left with {code}"
    if "Traceback" in told.err + told.out:
        return told.err + told.out
    if code == 2 and not told.err.strip():
        return "refused without a word"
    if code == 2 and (left := [path.name for path in [*Path().iterdir(), *Path("runs").iterdir()]]) not in _LEFT:
        return f"refused, and left {left}"
    longest = max((len(line) for line in told.err.splitlines()), default=0)
    return f"said a line of {longest} letters" if longest > 1500 else None


def test_a_command_that_waits_for_ever_is_found(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that the tests below can fail."""
    with pytest.raises(_TooLong), _at_most(1):
        threading.Event().wait(60)
    assert _answer(["--version"], capsys) is None


def _all_answered(seed: int, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {}
    for words in command_lines(seed, count):
        fault = _answer(words, capsys)
        if fault is not None:
            wrong[repr(words)[:500]] = fault[-600:]
    assert not wrong, "\n".join(f"{words}\n    {fault}" for words, fault in wrong.items())


def test_command_lines_of_all_kinds_are_answered(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _all_answered(1, 30, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 9))
def test_3500_command_lines_are_answered(seed: int, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _all_answered(seed, 500, capsys)

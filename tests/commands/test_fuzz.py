"""Whatever a command line says, it is answered in time and without a traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from sweeplora.__main__ import main
from tests.commands.fuzz import command_lines

_HANG_SECONDS = 10
"""Of the processor's time, which a busy machine does not change."""

_REFUSED_LAST = "train.max_timestep=100000000"
"""Known to be wrong only when model, data and prompts were looked at: every stage runs, and no training."""


class _TooLong(Exception):
    pass


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs that is there already, so that a check remembers its images from one line to the next."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def expire(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


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
    if "Traceback" in told.err:
        return told.err
    if code == 2 and not told.err.strip():
        return "refused without a word"
    longest = max((len(line) for line in told.err.splitlines()), default=0)
    return f"said a line of {longest} letters" if longest > 1500 else None


def _all_answered(seed: int, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {}
    for words in command_lines(seed, count):
        fault = _answer(words, capsys)
        if fault is not None:
            wrong[repr(words)[:500]] = fault[-600:]
    assert not wrong, "\n".join(f"{words}\n    {fault}" for words, fault in wrong.items())


def test_command_lines_of_all_kinds_are_answered(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _all_answered(1, 60, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 9))
def test_3500_command_lines_are_answered(seed: int, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _all_answered(seed, 500, capsys)

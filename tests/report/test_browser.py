"""An address is printed once, whenever Ctrl-C comes."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any

import pytest

from sweeplora.report.browser import announce


class _InterruptedTerminal(io.RawIOBase):
    """An output whose reader presses Ctrl-C on seeing anything."""

    def __init__(self) -> None:
        self.seen = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.seen += bytes(data)
        os.kill(os.getpid(), signal.SIGINT)
        return len(data)


def test_an_interrupt_while_it_is_printed_prints_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _InterruptedTerminal()
    output = io.TextIOWrapper(io.BufferedWriter(terminal))
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(KeyboardInterrupt):
        announce("http://127.0.0.1:5000", browser=False)
    monkeypatch.undo()
    output.flush()
    assert terminal.seen == b"http://127.0.0.1:5000\n"

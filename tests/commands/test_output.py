"""Standard output is written once and does not fail, whenever Ctrl-C comes and whoever stops reading."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import threading
from collections.abc import Iterator

import pytest

from sweeplora.commands.output import Lasting

F_SETOWN_EX, F_OWNER_TID = 15, 0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends for reading and writing."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(writer)
    os.close(reader)


def test_a_line_during_whose_writing_ctrl_c_comes_is_written_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    # The kernel interrupts this thread inside the system call that fills the pipe.
    fcntl.fcntl(reader, F_SETOWN_EX, struct.pack("ii", F_OWNER_TID, threading.get_native_id()))
    fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGINT)
    stream = Lasting(writer)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    try:
        with pytest.raises(KeyboardInterrupt):
            print("once", file=stream)
    finally:
        fcntl.fcntl(reader, fcntl.F_SETFL, 0)
    stream.flush()
    assert os.read(reader, 100) == b"once\n"


def test_what_nobody_reads_is_discarded_and_the_first_error_kept() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = Lasting(writer)
    for line in ("one", "two"):
        print(line, file=stream, flush=True)
        assert isinstance(stream.error, BrokenPipeError)
    os.close(writer)

"""The command of the sweep tests as a process that has imported everything: a fork of a Python that did nothing else.

It is a process like any other: with its own signals, environment, working directory, output and end. One of a test's
own beginning would import for two seconds of a processor what the last one had imported.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.sweep.imported"])


class Driver:
    """The running command; what the tests use of a Popen with two pipes."""

    def __init__(self, folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
        pipes = [_FORKS.Pipe(duplex=False) for _ in range(2)]
        self._readers = [reader for reader, _ in pipes]
        ends = [writer for _, writer in pipes]
        given = (str(folder), list(words), dict(environment), *ends)
        self._process = _FORKS.Process(target=_drive, args=given, daemon=True)  # the last of a failed test are ended
        with contextlib.chdir(ROOT):  # where the process that forks stays: a test looks for what lives in its folder
            self._process.start()
        for end in ends:
            end.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; TimeoutExpired if that does not come."""
        self._process.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired("drive", timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both outputs until nobody can write to them any more, and wait for the end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        said = [b"", b""]
        with selectors.DefaultSelector() as waiting:
            for place, reader in enumerate(self._readers):
                waiting.register(reader, selectors.EVENT_READ, place)
            while waiting.get_map():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise subprocess.TimeoutExpired("drive", timeout or 0.0)
                for key, _ in waiting.select(left):
                    part = os.read(key.fd, 1 << 16)
                    said[key.data] += part
                    if not part:
                        waiting.unregister(key.fileobj)
                        self._readers[key.data].close()
        self.wait(None if deadline is None else max(1.0, deadline - time.monotonic()))
        output, errors = (text.decode() for text in said)
        return output, errors


def _drive(folder: str, words: list[str], environment: dict[str, str], output: Connection, errors: Connection) -> None:
    """Become `python -m drive` in a folder."""
    for number, stream in ((1, output), (2, errors)):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [folder, str(Path(__file__).parent)]
    from tests.sweep import drive

    sys.exit(drive.process(words))

"""A worker: a process that trains one run folder after another, and the loop that it runs."""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sweeplora.launch.child import ignore_state_requests, redirect
from sweeplora.rundir.folder import RunDir

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)

_FIRST_TRAININGS = 3
_MOST_GROWTH = 1.25
_ROOM_BYTES = 64 << 20


class Trains(Protocol):
    """What a training's module calls `Worker`: made once a process, before it trains."""

    def fits(self, run: RunDir) -> bool:
        """Whether this process, which has trained others, can train the run folder as a new one would."""

    def train(self, run: RunDir) -> int:
        """Train a run folder; returns the exit code of a process that trains it alone."""

    def is_sound(self) -> bool:
        """Whether the last training left this process as it found it."""


def work(trains: Trains, requests: socket.socket) -> None:
    """Train what is asked for until the other end closes, or until another process should take over.

    JSON lines: `{"run": path, "env": {...}}` comes in. `{"begun": path}` and then `{"ended": exit code}` go out, or
    `{"unfit": path}` from a process that has trained others and leaves this one to a new process. Between its trainings
    it is ended by any signal.
    """
    memory = Memory()
    first = True
    with requests.makefile("r") as lines, suppress(BrokenPipeError, ConnectionResetError):
        for line in lines:
            request = json.loads(line)
            run = RunDir(Path(request["run"]))
            if not first and not trains.fits(run):
                _say(requests, {"unfit": request["run"]})
                return
            first = False
            _say(requests, {"begun": request["run"]})
            code = _trained(trains, run, request["env"])
            _say(requests, {"ended": code})
            if not trains.is_sound() or memory.has_grown():
                return


def _trained(trains: Trains, run: RunDir, environment: Mapping[str, str]) -> int:
    with _surroundings(run, environment):
        try:
            return trains.train(run)
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            handle_no_signal()


def handle_no_signal() -> None:
    """Handle signals as a process that trains nothing: a request for a state does nothing, the others end it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    ignore_state_requests()


@contextmanager
def _surroundings(run: RunDir, environment: Mapping[str, str]) -> Iterator[None]:
    """A training's own log, environment and working directory; the process's own are back afterwards.

    So are its warnings' filters, its logging and where it looks for modules.
    """
    before, here, home = dict(os.environ), os.getcwd(), os.dup(2)
    paths, logs = [*sys.path], _RootLogger.now()
    os.environ.update(environment)
    redirect(run.log)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.path[:] = paths
        logs.put_back()
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)  # what libraries printed belongs to this log too
        for output in (1, 2):
            os.dup2(home, output)
        os.close(home)
        os.environ.clear()
        os.environ.update(before)
        os.chdir(here)


class _RootLogger(NamedTuple):
    """How a process logs what no logger of a library's own takes."""

    level: int
    handlers: tuple[logging.Handler, ...]
    filters: tuple[Any, ...]
    disabled: int

    @classmethod
    def now(cls) -> _RootLogger:
        root = logging.root
        return cls(root.level, tuple(root.handlers), tuple(root.filters), root.manager.disable)

    def put_back(self) -> None:
        logging.root.setLevel(self.level)
        logging.root.handlers[:], logging.root.filters[:] = self.handlers, self.filters
        logging.disable(self.disabled)


class Memory:
    """The memory that a process keeps between trainings, against what it kept after its first ones."""

    def __init__(self) -> None:
        self._kept: list[int] = []

    def has_grown(self) -> bool:
        """Give free memory back, and say whether clearly more stays than after the first trainings."""
        gc.collect()
        gc.freeze()  # what lives now is not searched again
        ctypes.CDLL(None).malloc_trim(0)
        now = resident_bytes(os.getpid())
        if len(self._kept) < _FIRST_TRAININGS:
            self._kept.append(now)
        return now > max(self._kept) * _MOST_GROWTH + _ROOM_BYTES


def resident_bytes(pid: int) -> int:
    """A process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _say(channel: socket.socket, message: Mapping[str, Any]) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")

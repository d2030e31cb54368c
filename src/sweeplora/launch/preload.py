"""The fork server: imports the training once and forks a child per trial, which saves each trial the imports.

JSON lines: `{"run": path, "env": {...}}` comes in; `{"run": path, "pid": n}` and, when that child ended,
`{"run": path, "exit": code}` go out. End of input stops the server and, by SIGTERM, its children.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from sweeplora.config.imports import reachable
from sweeplora.launch.child import die_with_parent, ignore_state_requests
from sweeplora.rundir.folder import RunDir

_GRACE_SECONDS = 10.0
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


def main(argv: Sequence[str]) -> int:
    """`argv`: the module whose `main([run folder])` trains, then further modules to import ahead."""
    die_with_parent()
    ignore_state_requests()
    answers = os.dup(1)
    os.dup2(2, 1)  # what an import prints must not be read as a message
    for name in [*argv, *_late(argv)]:
        importlib.import_module(name)
    # Objects alive now stay shared with the children: the garbage collector no longer touches them.
    gc.collect()
    gc.freeze()
    ForkServer(importlib.import_module(argv[0]).main, answers).serve()
    return 0


def _late(modules: Sequence[str]) -> list[str]:
    """Our own modules that these import lazily: otherwise every child would import them again."""
    own = [module for module in modules if module.partition(".")[0] == __name__.partition(".")[0]]
    return sorted(reachable(own, late=True))


class ForkServer:
    """The children by process id, and the pipes. Must not start threads, since it forks."""

    def __init__(self, train: Callable[[list[str]], int], answers: int) -> None:
        self._train = train
        self._answers = answers
        self._children: dict[int, str] = {}
        self._pending = b""
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)

    def serve(self) -> None:
        """Fork for every request until end of input or SIGTERM; then terminate the children."""
        signal.signal(signal.SIGCHLD, _wake)
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        try:
            self._loop()
        except SystemExit:
            pass
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._end_children()

    def _loop(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(0, selectors.EVENT_READ)
            ready.register(self._told, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = os.read(key.fd, 1 << 16)
                    if key.fd == 0 and not data:
                        return
                    if key.fd == 0:
                        self._requests(data)
                self._reap()

    def _requests(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            # A signal between the fork and the child's own handlers would run the server's handler in the child.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            pid = os.fork()
            if pid == 0:
                self._child(request)
            self._children[pid] = request["run"]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._say({"run": request["run"], "pid": pid})

    def _child(self, request: dict[str, Any]) -> None:
        """Become a training with its own session, log and environment; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.setsid()
            for pipe in (self._told, self._tell, self._answers):
                os.close(pipe)
            _redirect(RunDir(Path(request["run"])).log)
            os.environ.update(request["env"])
            code = self._train([request["run"]])
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._say({"run": self._children.pop(pid), "exit": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any]) -> None:
        """Write one line to the driver; a dead driver is noticed by the end of input."""
        try:
            os.write(self._answers, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return

    def _end_children(self) -> None:
        deadline = time.monotonic() + _GRACE_SECONDS
        _signal_all(self._children, signal.SIGTERM)
        while self._children and time.monotonic() < deadline:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            self._children.pop(pid, None)
            if pid == 0:
                time.sleep(0.05)
        _signal_all(self._children, signal.SIGKILL)


def _redirect(log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
        os.set_inheritable(target, True)


def _signal_all(pids: dict[int, str], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            continue


def _wake(number: int, frame: FrameType | None) -> None:
    """Do nothing: the byte in the wake-up pipe is enough."""


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

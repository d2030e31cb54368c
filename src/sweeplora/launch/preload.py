"""The preloaded parent: imports the training once and forks workers, which saves each of them the imports.

JSON lines: `{"slot": n, "run": path, "env": {...}}` comes in, and `{"log": path}` for the parent's own output;
`{"run": path, "pid": n}` and, when that training ended, `{"run": path, "exit": code}` go out. A slot keeps one worker
(see `launch.workers`); one that died, or leaves a run to another, is replaced. End of input stops the parent and, by
SIGTERM, its workers. It starts no thread and touches no GPU, since neither survives a fork. Libraries may: LyCORIS
imports bitsandbytes where it is installed, which asks CUDA for its devices. Then the parent begins anew without any
imports, and each worker is a Python of its own, which imports once for all trainings of its slot.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from sweeplora.config.imports import reachable
from sweeplora.launch.child import die_with_parent, ignore_state_requests, redirect_output
from sweeplora.launch.process import WORKERS
from sweeplora.launch.workers import handle_no_signal, work

_GRACE_SECONDS = 10.0
_HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_WITHOUT_IMPORTS = "--without-imports"
_WORKER = "--worker"


def main(argv: Sequence[str]) -> int:
    """`argv`: the module whose `Worker` trains, then further modules to import ahead."""
    match argv:
        case [option, channel, *modules] if option == _WORKER:
            _work_alone(socket.socket(fileno=int(channel)), modules)
            return 0
        case [option, answers, *modules] if option == _WITHOUT_IMPORTS:
            ForkServer(partial(_begin_worker, modules), int(answers)).serve()
            return 0
    die_with_parent()
    ignore_state_requests()
    answers_to = os.dup(1)
    os.dup2(2, 1)  # what an import prints must not be read as a message
    for name in [*argv, *_late(argv)]:
        importlib.import_module(name)
    if os.environ.get("SWEEPLORA_DEVICE") == "cuda" and not _forks_keep_cuda():
        os.set_inheritable(answers_to, True)
        _become([_WITHOUT_IMPORTS, str(answers_to), *argv])
    # Objects alive now stay shared with the workers: the garbage collector no longer touches them.
    gc.collect()
    gc.freeze()
    make = importlib.import_module(argv[0]).Worker
    ForkServer(lambda channel: work(make(), channel), answers_to).serve()
    return 0


def _forks_keep_cuda() -> bool:
    """Whether a fork of this process can use the GPU, which a fork tells."""
    torch = sys.modules.get("torch")
    if torch is None:
        return True
    pid = os.fork()
    if pid == 0:
        os._exit(bool(torch.cuda._is_in_bad_fork()))
    return os.waitpid(pid, 0)[1] == 0


def _become(words: Sequence[str]) -> NoReturn:
    """Have this process begin anew as this module's command with these words."""
    os.execv(sys.executable, [sys.executable, "-m", WORKERS, *words])


def _begin_worker(modules: Sequence[str], channel: socket.socket) -> NoReturn:
    """Have this process, a fork of the parent, become a worker that imports for itself."""
    print("an imported library has started CUDA: this worker imports for itself", file=sys.stderr, flush=True)
    os.set_inheritable(channel.fileno(), True)
    _become([_WORKER, str(channel.fileno()), *modules])


def _work_alone(channel: socket.socket, modules: Sequence[str]) -> None:
    """Import, and train what is asked for."""
    handle_no_signal()
    try:
        for name in modules:
            importlib.import_module(name)
        work(importlib.import_module(modules[0]).Worker(), channel)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _late(modules: Sequence[str]) -> list[str]:
    """Our own modules that these import lazily: otherwise every worker would import them again."""
    own = [module for module in modules if module.partition(".")[0] == __name__.partition(".")[0]]
    return sorted(reachable(own, late=True))


@dataclass
class _Worker:
    """A worker as its parent sees it; `request`: what it was given and has not ended, `begun` once it took it."""

    slot: int
    pid: int
    channel: socket.socket
    request: dict[str, Any] | None = None
    begun: bool = False
    used: bool = False
    pending: bytes = b""


class ForkServer:
    """The workers by slot, and the pipes to the driver.

    `begin` is a worker's whole life, in its process: it trains what its end of the channel is asked for.
    """

    def __init__(self, begin: Callable[[socket.socket], None], answers: int) -> None:
        self._begin = begin
        self._answers = answers
        self._workers: list[_Worker] = []
        self._pending = b""
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)

    def serve(self) -> None:
        """Pass requests to workers until end of input or SIGTERM; then terminate them."""
        signal.signal(signal.SIGCHLD, _wake)
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        try:
            while self._pass():
                pass
        except SystemExit:
            pass
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._end_workers()

    def _pass(self) -> bool:
        """Handle what is there, or wait for it; False at the end of input."""
        open_ = [worker for worker in self._workers if worker.channel.fileno() >= 0]
        sources: list[Any] = [0, self._told, *(worker.channel for worker in open_)]
        ready, _, _ = select.select(sources, [], [])
        if self._told in ready:
            os.read(self._told, 1 << 16)
        for worker in open_:
            if worker.channel in ready:
                self._hear(worker)
        self._reap()
        if 0 in ready:
            data = os.read(0, 1 << 16)
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if "log" in request:
                    redirect_output(Path(request["log"]))
                else:
                    self._give(request)
            return bool(data)
        return True

    def _give(self, request: dict[str, Any]) -> None:
        """Pass a request to its slot's worker, or to a new one."""
        idle = [one for one in self._workers if one.slot == request["slot"] and one.request is None]
        worker = idle[-1] if idle else self._fork(request["slot"], request["env"])
        worker.request, worker.begun = request, False
        try:
            worker.channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            return  # it is dying, which tells what to do with its request

    def _fork(self, slot: int, environment: Mapping[str, str]) -> _Worker:
        mine, theirs = socket.socketpair()
        # A signal between the fork and the worker's own handlers would run the parent's handler in the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        pid = os.fork()
        if pid == 0:
            mine.close()
            os.environ.update(environment)
            self._become_worker(theirs)
        theirs.close()
        worker = _Worker(slot, pid, mine)
        self._workers.append(worker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        return worker

    def _become_worker(self, channel: socket.socket) -> None:
        """Work in a session of one's own; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            handle_no_signal()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            os.setsid()
            for pipe in (self._told, self._tell, self._answers):
                os.close(pipe)
            for other in self._workers:
                other.channel.close()
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            self._begin(channel)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _hear(self, worker: _Worker) -> None:
        """Process what a worker says."""
        try:
            data = worker.channel.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            worker.channel.close()
            return
        *lines, worker.pending = (worker.pending + data).split(b"\n")
        for line in lines:
            self._heard(worker, json.loads(line))

    def _heard(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.request is not None
        run = worker.request["run"]
        match message:
            case {"begun": _}:
                worker.begun = worker.used = True
                self._say({"run": run, "pid": worker.pid})
            case {"ended": code}:
                worker.request = None
                self._say({"run": run, "exit": code})

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = next(one for one in self._workers if one.pid == pid)
            while worker.channel.fileno() >= 0:
                self._hear(worker)
            self._workers.remove(worker)
            if worker.request is not None:
                self._lost(worker, worker.request, os.waitstatus_to_exitcode(status))

    def _lost(self, worker: _Worker, request: dict[str, Any], code: int) -> None:
        """A worker ended with a request: it died of it, or, having trained others, had not begun it."""
        if worker.used and not worker.begun:
            self._give(request)
            return
        self._say({"run": request["run"], "exit": code})

    def _say(self, message: dict[str, Any]) -> None:
        """Write one line to the driver; a dead driver is noticed by the end of input."""
        try:
            os.write(self._answers, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return

    def _end_workers(self) -> None:
        deadline = time.monotonic() + _GRACE_SECONDS
        for worker in self._workers:
            worker.channel.close()
        living = {worker.pid for worker in self._workers}
        _signal_all(living, signal.SIGTERM)
        while living and time.monotonic() < deadline:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            living.discard(pid)
            if pid == 0:
                time.sleep(0.05)
        _signal_all(living, signal.SIGKILL)


def _signal_all(pids: set[int], number: signal.Signals) -> None:
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

"""The driver's side of the preloaded parent: asks it for trainings and learns how each ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeplora.launch.child import PARENT
from sweeplora.launch.process import EXIT_LOST, WORKERS, inherited, signal_family, start_ticks
from sweeplora.launch.slot import Slot
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.signature import UNSIGNED

_CLOSE_SECONDS = 15.0
_UNFORKED_GPU = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Has `torch.cuda.is_available`, which libraries ask when they are imported, start no CUDA: it cannot be forked."""


def modules_ahead(module: str, config: Mapping[str, Any]) -> list[str]:
    """What the server imports: the training's module, and the modules of its package that the config's targets need."""
    signed = [node for key, node in config.items() if key not in UNSIGNED and isinstance(node, Mapping)]
    targets = [str(node["_target_"]).rpartition(".")[0] for node in signed if "_target_" in node]
    package = module.partition(".")[0]
    return list(dict.fromkeys([module, *(t for t in targets if t.partition(".")[0] == package)]))


class ForkedProcess:
    """One training in a worker of the preloaded parent; the worker's process may train others before and after it."""

    def __init__(self, server: ForkClient) -> None:
        self._server = server
        self._start_ticks: int | None = None
        self._pid: int | None = None
        self._exit: int | None = None
        self._owed: signal.Signals | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id, None until it has begun this training."""
        return self._pid

    def poll(self) -> int | None:
        """Exit code, None while it runs; EXIT_LOST if the server died first, since the code is then unknown."""
        self._server.hear()
        if self._exit is None and not self._server.alive and not self._lives():
            self._exit = EXIT_LOST
        return self._exit

    def signal(self, number: signal.Signals) -> None:
        """Signal the worker's session while it trains this; a training that has not begun receives it once it has."""
        if self._pid is None:
            self._owed = number
        elif self._exit is None and self._lives():
            signal_family(self._pid, number)

    def begun(self, pid: int) -> None:
        """Take the server's report that the training has begun."""
        self._pid, self._start_ticks = pid, start_ticks(pid)
        if self._owed is not None:
            signal_family(pid, self._owed)

    def ended(self, code: int) -> None:
        """Take the server's report that the training ended."""
        self._exit = code

    def _lives(self) -> bool:
        ticks = self._start_ticks
        return self._pid is not None and ticks is not None and start_ticks(self._pid) == ticks


class ForkClient:
    """A running `python -m sweeplora.launch.preload`."""

    def __init__(self, modules: Sequence[str], environment: dict[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._log: Path | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKERS, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=inherited(os.environ) | environment | _UNFORKED_GPU | {PARENT: str(os.getpid())},
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._answers.fileno(), False)
        self._children: dict[str, ForkedProcess] = {}
        self._pending = b""

    @property
    def alive(self) -> bool:
        """Whether the server still responds."""
        if self._process.poll() is None:
            return True
        self._keep_errors()
        return False

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def train(self, run: RunDir, slot: Slot) -> ForkedProcess:
        """Ask the slot's worker to train this folder; the request waits while the server is still importing."""
        child = ForkedProcess(self)
        self._children[str(run.path)] = child
        self._ask({"slot": slot.index, "run": str(run.path), "env": slot.environment()})
        return child

    def log_to(self, log: Path) -> None:
        """Have the server's output appended to a file, with what it has said so far; only the first call counts."""
        if self._log is None:
            self._log = log
            self._ask({"log": str(log)})

    def hear(self) -> None:
        """Process the server's messages."""
        while not self._answers.closed and self._answers in select.select([self._answers], [], [], 0)[0]:
            data = os.read(self._answers.fileno(), 1 << 16)
            if not data:
                return
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                self._answer(json.loads(line))

    def wait(self, seconds: float) -> None:
        """Process the server's messages as soon as there are any, for at most `seconds`."""
        select.select([self._answers], [], [], seconds)
        self.hear()

    def close(self) -> None:
        """Shut the server down: it terminates its workers and exits, immediately if it is still importing."""
        self._process.terminate()
        with suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(timeout=_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.hear()
        self._answers.close()

    def kill(self) -> None:
        """Kill the server and the workers that train now; the others end by themselves, since nothing can ask them."""
        self._process.kill()
        self._process.wait()
        self.hear()
        for child in self._children.values():
            child.signal(signal.SIGKILL)

    def _keep_errors(self) -> None:
        """Copy what the server said before it had a log."""
        if self._log is not None and not self._errors.closed:
            self._errors.seek(0)
            with self._log.open("ab") as log:
                log.write(self._errors.read())
            self._errors.close()

    def _ask(self, request: Mapping[str, object]) -> None:
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            self._process.wait()

    def _answer(self, message: dict[str, object]) -> None:
        child = self._children[str(message["run"])]
        pid, code = message.get("pid"), message.get("exit")
        if isinstance(pid, int):
            child.begun(pid)
        if isinstance(code, int):
            child.ended(code)

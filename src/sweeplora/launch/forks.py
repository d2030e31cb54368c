"""The driver's end of the preloaded parent: ask it for a child per trial and hear how each ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeplora.launch.local import start
from sweeplora.launch.process import LOST, Own, birth, inherited, signal_family
from sweeplora.launch.slot import Slot
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.signature import UNSIGNED

_DEATHS = 2


def ahead(training: str, config: Mapping[str, Any]) -> list[str]:
    """What the parent imports: the training's module, and those of its package that the config has it build."""
    signed = [node for key, node in config.items() if key not in UNSIGNED and isinstance(node, Mapping)]
    targets = [str(node["_target_"]).rpartition(".")[0] for node in signed if "_target_" in node]
    package = training.partition(".")[0]
    return list(dict.fromkeys([training, *(t for t in targets if t.partition(".")[0] == package)]))


class Forked:
    """One child of the preloaded parent."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._birth: int | None = None
        self._pid: int | None = None
        self._exit: int | None = None
        self._owed: signal.Signals | None = None

    @property
    def pid(self) -> int | None:
        """Known once the parent has forked."""
        return self._pid

    def poll(self) -> int | None:
        """Exit code; when the parent died the child lives on, and only that it ended is known: LOST."""
        self._parent.hear()
        if self._exit is None and not self._parent.alive and not self._lives():
            self._exit = LOST
        return self._exit

    def signal(self, number: signal.Signals) -> None:
        """To the child's own session; one that is not forked yet gets it as soon as it is."""
        if self._pid is None:
            self._owed = number
        elif self._exit is None and self._lives():
            signal_family(self._pid, number)

    def forked(self, pid: int) -> None:
        """The parent's first word about it."""
        self._pid, self._birth = pid, birth(pid)
        if self._owed is not None:
            signal_family(pid, self._owed)

    def ended(self, code: int) -> None:
        """The parent's last word about it."""
        self._exit = code

    def _lives(self) -> bool:
        return self._pid is not None and self._birth is not None and birth(self._pid) == self._birth


class Parent:
    """A running `python -m sweeplora.launch.preload`."""

    def __init__(self, modules: Sequence[str], environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sweeplora.launch.preload", *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=inherited(os.environ) | environment,
                start_new_session=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._answers.fileno(), False)
        self._children: dict[str, Forked] = {}
        self._pending = b""

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fork(self, run: RunDir, slot: Slot) -> Forked:
        """Ask for a child that trains this folder; while the parent still imports the request waits."""
        child = Forked(self)
        self._children[str(run.path)] = child
        line = json.dumps({"run": str(run.path), "env": slot.environment()})
        try:
            self._requests.write(line.encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            self._process.wait()
        return child

    def hear(self) -> None:
        """Take in what it has said."""
        while self._answers in select.select([self._answers], [], [], 0)[0]:
            data = os.read(self._answers.fileno(), 1 << 16)
            if not data:
                return
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                self._answer(json.loads(line))

    def close(self) -> None:
        """Let it go: it ends its children and itself."""
        with suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
        self._answers.close()

    def kill(self) -> None:
        """End it now; its children see to themselves."""
        self._process.kill()
        self._process.wait()

    def _answer(self, message: dict[str, object]) -> None:
        child = self._children[str(message["run"])]
        pid, code = message.get("pid"), message.get("exit")
        if isinstance(pid, int):
            child.forked(pid)
        if isinstance(code, int):
            child.ended(code)


class Starter:
    """Starts trainings: forked where one process trains, as processes of their own otherwise.

    A parent that died is replaced once; when that dies too, trials start directly.
    """

    def __init__(self, modules: Sequence[str], log: Path, forks: bool) -> None:
        self._modules = modules
        self._log = log
        self._forks = forks
        self._deaths = 0
        self._parent: Parent | None = None

    def warm(self, slot: Slot) -> None:
        """Begin to import, so that the first trial waits less."""
        if self._forks and slot.processes == 1:
            self._ready(slot)

    def start(self, run: RunDir, slot: Slot) -> Own | Forked:
        """Start the training of one run folder in one slot."""
        parent = self._ready(slot) if self._forks and slot.processes == 1 else None
        return start(run, slot, self._modules[0]) if parent is None else parent.fork(run, slot)

    def close(self) -> None:
        """No more trials."""
        if self._parent is not None:
            self._parent.close()

    def kill(self) -> None:
        """End at once."""
        if self._parent is not None:
            self._parent.kill()

    def _ready(self, slot: Slot) -> Parent | None:
        if self._parent is not None and not self._parent.alive:
            self._deaths += 1
            self._parent = None
        if self._parent is None and self._deaths < _DEATHS:
            # Threads are fixed when the libraries load, not when a child is forked.
            self._parent = Parent(self._modules, slot.environment(), self._log)
        return self._parent

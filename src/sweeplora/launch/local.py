"""The local launcher: slots that share this machine's cores or GPUs, and the processes started in them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge

from sweeplora.errors import UserError
from sweeplora.launch.command import Waiting, start_subprocess
from sweeplora.launch.forks import ForkClient, modules_ahead
from sweeplora.launch.gpus import NoAnswer, visible_gpus
from sweeplora.launch.launcher import AttemptRules, Plan, Started
from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.yaml_text import read_yaml

_MOST_SLOTS = 4  # default limit: each training holds a model in memory
_MOST_SERVER_DEATHS = 2
_GRACE_SECONDS = 10.0


@dataclass
class Local:
    """Target of conf/launcher/local.yaml: several trainings at once on this machine.

    If several single-process trainings are planned, each slot keeps a worker that trains one after another, forked from
    a parent that has imported everything. A parent that died is replaced once; if that one dies too, trainings start as
    separate processes.
    """

    slots: Annotated[int, Ge(1)] | None
    processes_per_trial: Annotated[int, Ge(1)]
    threads: Annotated[int, Ge(1)] | None
    device: Literal["cpu", "cuda"] | None
    trials_per_gpu: Annotated[int, Ge(1)]
    attempts: Annotated[int, Ge(1)]
    on_oom: Literal["fail", "halve"] = "fail"  # for launcher files of before
    _forks: bool = field(default=False, init=False)
    _server: ForkClient | None = field(default=None, init=False)
    _preloaded_for: Shape | None = field(default=None, init=False)
    _waiting: Waiting | None = field(default=None, init=False)
    _server_deaths: int = field(default=0, init=False)
    _running: list[Started] = field(default_factory=list, init=False)

    @property
    def rules(self) -> AttemptRules:
        """The configured limits; on this machine an end from outside does not count."""
        return AttemptRules(self.attempts, False, _GRACE_SECONDS, halve=self.on_oom == "halve")

    @property
    def server_pid(self) -> int | None:
        """Process id of the running fork server."""
        return self._server.pid if self._server is not None and self._server.alive else None

    def plan(self, most: int, shape: Shape | None = None) -> Plan:
        """Plan at most `most` slots. Raises UserError if the values do not fit this machine or the shape."""
        self._forks = most > 1
        cores, gpus = len(os.sched_getaffinity(0)), self._gpus()
        self._refuse_another(shape)
        if shape is None:
            self._refuse_too_many(cores, bool(gpus))
        fixed = self.threads if shape is None else shape.threads
        teams = self._teams(gpus) if gpus else [()] * self._shares(cores, fixed or 1)
        each, count = self.processes_per_trial, min(most, len(teams))
        threads = fixed or max(1, cores // (count * each))
        device: Literal["cpu", "cuda"] = "cuda" if gpus else "cpu"
        slots = [Slot(index, each, threads, device, teams[index]) for index in range(count)]
        return Plan(slots, self._notices(slots, most, cores) if shape is not None else ())

    def preload(self, most: int, module: str, config: Mapping[str, Any]) -> None:
        """Begin to import: in the parent of the workers, or where only one training comes, in its own process."""
        slot = self.plan(most).slots[0]
        if slot.processes == 1 and most > 1:
            self._server = ForkClient(modules_ahead(module, config), slot.environment())
            self._preloaded_for = slot.shape
        elif slot.processes == 1:
            self._waiting = Waiting(slot, module, modules_ahead(module, config)[1:])

    def start(self, run: RunDir, slot: Slot, module: str) -> Started:
        """Start one training: in the slot's worker if several are planned."""
        server = self._fork_server(run, slot, module) if self._forks and slot.processes == 1 else None
        started: Started | None = None if server is None else server.train(run, slot)
        if server is None and self._waiting is not None:
            started, self._waiting = self._waiting.train(run, slot), None
        if started is None:
            started = start_subprocess(run, slot, module)
        self._running = [*(one for one in self._running if one.poll() is None), started]
        return started

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or as soon as the parent of the workers has news."""
        if self._server is not None and self._server.alive:
            self._server.wait(seconds)
        else:
            time.sleep(seconds)

    def close(self, kill: bool = False) -> None:
        """Stop every training that still runs, then the fork server."""
        self._signal(signal.SIGKILL if kill else signal.SIGTERM)
        if self._waiting is not None:
            self._waiting.end()
            self._waiting = None
        if self._server is not None and kill:
            self._server.kill()
        elif self._server is not None:
            self._server.close()
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._signal(None) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._server = None

    def _gpus(self) -> tuple[str, ...]:
        """The GPUs to use, none on CPUs. Raises UserError if GPUs are requested but missing, or cannot be listed."""
        if self.device == "cpu":
            return ()
        try:
            gpus = visible_gpus()
        except NoAnswer as fault:
            mend = f"{fault}; give launcher.device=cpu, or name the GPUs in CUDA_VISIBLE_DEVICES"
            raise UserError("launcher.device", self.device or "null", mend) from None
        if self.device == "cuda" and not gpus:
            raise UserError("launcher.device", "cuda", "this machine shows 0 GPUs; give launcher.device=cpu")
        return gpus

    def _teams(self, gpus: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The GPUs of each slot, one per process."""
        each = self.processes_per_trial
        shown = f"this machine shows {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}"
        if each > len(gpus):
            raise UserError("launcher.processes_per_trial", each, f"{shown}; give at most {len(gpus)}")
        teams = [gpus[start : start + each] for start in range(0, len(gpus) - each + 1, each)] * self.trials_per_gpu
        if self.slots is not None and self.slots > len(teams):
            mend = f"{shown}, one a process; give at most {len(teams)}, or share them with launcher.trials_per_gpu"
            raise UserError("launcher.slots", self.slots, mend)
        return teams[: self.slots]

    def _shares(self, cores: int, threads: int) -> int:
        """How many slots the cores can hold."""
        return min(max(1, cores // (self.processes_per_trial * threads)), self.slots or _MOST_SLOTS)

    def _notices(self, slots: Sequence[Slot], most: int, cores: int) -> tuple[str, ...]:
        """Notices about what keeping the study's thread count costs on this machine."""
        each, threads = slots[0].shape
        kept = f"{threads} threads" if each == 1 else f"{each} processes of {threads} threads"
        if (threads if slots[0].gpus else each * threads) > cores:
            return (f"this machine has {cores} cores; it keeps the {kept} that it began with, and is slower",)
        if len(slots) < min(most, self.slots or 1):
            return (f"{len(slots)} at once, not launcher.slots={self.slots}: each keeps the {kept} that it began with",)
        return ()

    def _refuse_too_many(self, cores: int, on_gpus: bool) -> None:
        threads, each = self.threads or 1, self.processes_per_trial
        has = f"this machine has {cores} core{'s' if cores > 1 else ''}"
        if threads > cores:
            raise UserError("launcher.threads", threads, f"{has}; give at most {cores}, or null")
        if on_gpus:
            return
        if self.trials_per_gpu > 1:
            raise UserError("launcher.trials_per_gpu", self.trials_per_gpu, "has no effect without a GPU; use 1")
        if each * threads > cores:
            mend = f"{has}, and each process takes {threads}; give at most {cores // threads}"
            raise UserError("launcher.processes_per_trial", each, mend)
        room = cores // (each * threads)
        if self.slots is not None and self.slots > room:
            mend = f"{has}, and a trial takes {each} x {threads}; give at most {room}"
            raise UserError("launcher.slots", self.slots, mend)

    def _refuse_another(self, shape: Shape | None) -> None:
        """Refuse another shape: results are only reproducible with the original number of threads and processes."""
        if shape is None:
            return
        asked = (("processes_per_trial", self.processes_per_trial), ("threads", self.threads or shape.threads))
        for (key, value), kept in zip(asked, shape, strict=True):
            if value != kept:
                mend = f"it began with {kept}, and {value} would change the last digits of its numbers"
                raise UserError(f"launcher.{key}", value, f"{mend}; give {kept}, or begin anew under another name")

    def _fork_server(self, run: RunDir, slot: Slot, module: str) -> ForkClient | None:
        if self._server is not None and self._preloaded_for not in (None, slot.shape):
            # The thread count is fixed when the libraries load, not when a worker is forked.
            self._server.kill()
            self._server = None
        elif self._server is not None and not self._server.alive:
            self._server_deaths += 1
            self._server = None
        if self._server is None and self._server_deaths < _MOST_SERVER_DEATHS:
            modules = modules_ahead(module, read_yaml(run.config.read_text()))
            self._server = ForkClient(modules, slot.environment())
        self._preloaded_for = None
        if self._server is not None:
            self._server.log_to(run.path.parent / "preload.log")
        return self._server

    def _signal(self, number: signal.Signals | None) -> bool:
        """Signal the trainings that still run (None: send nothing); returns whether any do."""
        self._running = [one for one in self._running if one.poll() is None]
        for one in self._running:
            if number is not None:
                one.signal(number)
        return bool(self._running)

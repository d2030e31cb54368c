"""This machine as a launcher: slots that share its cores or GPUs, and the processes started in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import yaml
from annotated_types import Ge

from sweeplora.errors import UserError
from sweeplora.launch.forks import ForkClient, modules_ahead
from sweeplora.launch.gpus import visible_gpus
from sweeplora.launch.launcher import AttemptRules, Started
from sweeplora.launch.process import Subprocess, inherited
from sweeplora.launch.slot import Slot
from sweeplora.rundir.folder import RunDir

_MOST_SLOTS = 4  # left to itself: each training holds a model in memory
_MOST_SERVER_DEATHS = 2
_GRACE_SECONDS = 10.0


@dataclass
class Local:
    """Target of conf/launcher/local.yaml: several trainings at once on this machine.

    Where several trainings of one process are planned they are forked from a server that has imported everything.
    A server that died is replaced once; when that dies too, trainings are started as processes of their own.
    """

    slots: Annotated[int, Ge(1)] | None
    processes_per_trial: Annotated[int, Ge(1)]
    threads: Annotated[int, Ge(1)] | None
    device: Literal["cpu", "cuda"] | None
    attempts: Annotated[int, Ge(1)]
    _forks: bool = field(default=False, init=False)
    _server: ForkClient | None = field(default=None, init=False)
    _server_deaths: int = field(default=0, init=False)
    _running: list[Started] = field(default_factory=list, init=False)

    @property
    def rules(self) -> AttemptRules:
        """As the configuration says; an end from outside is nobody's fault here."""
        return AttemptRules(self.attempts, outside_counts=False, grace_seconds=_GRACE_SECONDS)

    @property
    def server_pid(self) -> int | None:
        """Process id of the living fork server."""
        return self._server.pid if self._server is not None and self._server.alive else None

    def plan(self, most: int) -> Sequence[Slot]:
        """The slots, at most `most` of them. Raises UserError where there are too few GPUs."""
        self._forks = most > 1
        gpus = visible_gpus() if self.device != "cpu" else ()
        device = self.device or ("cuda" if gpus else "cpu")
        if device == "cuda":
            return self._on_gpus(gpus, most)
        cores = len(os.sched_getaffinity(0))
        free = cores // (self.processes_per_trial * (self.threads or 1))
        count = min(most, self.slots or max(1, min(free, _MOST_SLOTS)))
        threads = self.threads or max(1, cores // (count * self.processes_per_trial))
        return [Slot(index, self.processes_per_trial, threads, "cpu", ()) for index in range(count)]

    def start(self, run: RunDir, slot: Slot, module: str) -> Started:
        """Start one training, forked where that saves the imports."""
        server = self._fork_server(run, slot, module) if self._forks and slot.processes == 1 else None
        started = start_subprocess(run, slot, module) if server is None else server.fork(run, slot)
        self._running = [*(one for one in self._running if one.poll() is None), started]
        return started

    def close(self, kill: bool = False) -> None:
        """End every training that still runs, then the fork server."""
        self._signal(signal.SIGKILL if kill else signal.SIGTERM)
        if self._server is not None and kill:
            self._server.kill()
        elif self._server is not None:
            self._server.close()
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._signal(None) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._server = None

    def _on_gpus(self, gpus: tuple[str, ...], most: int) -> list[Slot]:
        each = self.processes_per_trial
        if len(gpus) < each:
            found = f"this machine shows {len(gpus)} GPUs"
            if not gpus:
                raise UserError("launcher.device", "cuda", f"{found}; give launcher.device=cpu")
            raise UserError("launcher.processes_per_trial", each, f"{found}; give at most {len(gpus)}")
        teams = [gpus[start : start + each] for start in range(0, len(gpus) - each + 1, each)]
        count = min(most, self.slots or len(teams))
        threads = self.threads or max(1, len(os.sched_getaffinity(0)) // (count * each))
        return [Slot(i, each, threads, "cuda", teams[i % len(teams)]) for i in range(count)]

    def _fork_server(self, run: RunDir, slot: Slot, module: str) -> ForkClient | None:
        if self._server is not None and not self._server.alive:
            self._server_deaths += 1
            self._server = None
        if self._server is None and self._server_deaths < _MOST_SERVER_DEATHS:
            # Threads are fixed when the libraries load, not when a child is forked.
            modules = modules_ahead(module, yaml.safe_load(run.config.read_text()))
            self._server = ForkClient(modules, slot.environment(), run.path.parent / "preload.log")
        return self._server

    def _signal(self, number: signal.Signals | None) -> bool:
        """Signal what still runs, with None nothing; returns whether anything does."""
        self._running = [one for one in self._running if one.poll() is None]
        for one in self._running:
            if number is not None:
                one.signal(number)
        return bool(self._running)


def start_subprocess(run: RunDir, slot: Slot, module: str) -> Subprocess:
    """Start the training of a run folder as a process of its own, its output appended to the folder's log."""
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            command(run.path, slot, module),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=inherited(os.environ) | slot.environment(),
            start_new_session=True,
        )
    return Subprocess(process)


def command(run: Path, slot: Slot, module: str) -> list[str]:
    """The command line of one training; several processes go through `accelerate launch`.

    Every flag of accelerate's is given, or a default_config.yaml in the user's home would decide.
    `--multi_gpu` is also what starts several processes on CPUs; port 0 finds a free one.
    """
    if slot.processes == 1:
        return [sys.executable, "-m", module, str(run)]
    flags = {
        "--num_processes": slot.processes,
        "--num_machines": 1,
        "--machine_rank": 0,
        "--main_process_ip": "127.0.0.1",
        "--main_process_port": 0,
        "--mixed_precision": "no",
        "--dynamo_backend": "no",
        "--num_cpu_threads_per_process": slot.threads,
        "--rdzv_backend": "static",
        "--max_restarts": 0,
        "--monitor_interval": 0.5,
    }
    if slot.device == "cuda":
        flags["--gpu_ids"] = "all"
    given = [text for flag, value in flags.items() for text in (flag, str(value))]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", *given]
    return [*launcher, "--module", module, str(run)]

"""Where trials run: this machine's slots, each a share of its cores or GPUs, and the processes started there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from sweeplora.errors import UserError
from sweeplora.launch.process import Own, inherited
from sweeplora.launch.slot import Slot, visible_gpus
from sweeplora.rundir.folder import RunDir

TRAINING = "sweeplora.training.train"
_MOST_SLOTS = 4  # left to itself: each trial holds a model in memory


@dataclass(frozen=True)
class Local:
    """Target of conf/launcher/local.yaml: several trials at once on this machine."""

    slots: Annotated[int, Ge(1)] | None
    processes_per_trial: Annotated[int, Ge(1)]
    threads: Annotated[int, Ge(1)] | None
    device: Literal["cpu", "cuda"] | None
    attempts: Annotated[int, Ge(1)]

    def plan(self, most: int) -> list[Slot]:
        """The slots, at most `most` of them. Raises UserError where there are too few GPUs."""
        gpus = visible_gpus() if self.device != "cpu" else ()
        device = self.device or ("cuda" if gpus else "cpu")
        if device == "cuda":
            return self._on_gpus(gpus, most)
        cores = len(os.sched_getaffinity(0))
        free = cores // (self.processes_per_trial * (self.threads or 1))
        count = min(most, self.slots or max(1, min(free, _MOST_SLOTS)))
        threads = self.threads or max(1, cores // (count * self.processes_per_trial))
        return [Slot(index, self.processes_per_trial, threads, "cpu", ()) for index in range(count)]

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


def start(run: RunDir, slot: Slot, module: str = TRAINING) -> Own:
    """Start the training of a run folder, its output appended to the folder's log."""
    environment = inherited(os.environ) | slot.environment()
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            command(run.path, slot, module),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    return Own(process)


def command(run: Path, slot: Slot, module: str = TRAINING) -> list[str]:
    """The command line of one training; several processes go through `accelerate launch`.

    Every flag of the launcher is said, or a default_config.yaml in the user's home would decide.
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
    said = [text for flag, value in flags.items() for text in (flag, str(value))]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", *said]
    return [*launcher, "--module", module, str(run)]

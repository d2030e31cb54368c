"""The command line of one training, and the process that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sweeplora.launch.child import PARENT
from sweeplora.launch.process import Subprocess, inherited
from sweeplora.launch.slot import Slot
from sweeplora.rundir.folder import RunDir


def start_subprocess(run: RunDir, slot: Slot, module: str) -> Subprocess:
    """Start the training of a run folder as a separate process; its output is appended to the folder's log."""
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            command(run.path, slot, module),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=inherited(os.environ) | slot.environment() | {PARENT: str(os.getpid())},
            start_new_session=True,
        )
    return Subprocess(process, run.path)


def command(run: Path, slot: Slot, module: str) -> list[str]:
    """The command line of one training; multi-process trainings go through `accelerate launch`.

    Every accelerate flag is set, since a default_config.yaml in the user's home would decide the rest.
    `--multi_gpu` also starts several processes on CPUs; port 0 picks a free port.
    """
    if slot.processes == 1:
        return [sys.executable, "-m", "sweeplora.launch.child", module, str(run)]
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
    launcher = [sys.executable, "-m", "sweeplora.launch.together", "--multi_gpu", *given]
    return [*launcher, "--module", "sweeplora.launch.child", module, str(run)]

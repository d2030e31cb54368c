"""The command line of one training, and the process that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeplora.launch.child import PARENT, WAIT
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


class Waiting:
    """A process of one training that has begun to import, and waits for its run folder."""

    def __init__(self, slot: Slot, module: str, ahead: Sequence[str]) -> None:
        self.slot = slot
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sweeplora.launch.child", module, WAIT, *ahead],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=inherited(os.environ) | slot.environment() | {PARENT: str(os.getpid())},
            start_new_session=True,
        )

    def train(self, run: RunDir, slot: Slot) -> Subprocess | None:
        """Have it train a run folder; None if it cannot, because it died or was started for another slot."""
        line = json.dumps({"run": str(run.path), "env": slot.environment()}).encode()
        stdin = self._process.stdin
        assert stdin is not None
        if self.slot != slot or self._process.poll() is not None:
            self.end()
            return None
        try:
            stdin.write(line + b"\n")
            stdin.close()
        except BrokenPipeError:
            return None
        return Subprocess(self._process, run.path)

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


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

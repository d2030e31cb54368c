"""Where trials run: this machine's slots, each a share of its cores or GPUs, and the processes started there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from annotated_types import Ge

from sweeplora.errors import UserError
from sweeplora.rundir import RunDir

TRAINING = "sweeplora.train"
LOST = 256
"""Exit code of a training whose parent died, so that nobody saw its own; no process ends with it."""
_FOREIGN = re.compile(
    r"(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|GROUP_RANK|MASTER_\w+|ACCELERATE_\w+|TORCHELASTIC_\w+)$"
)
_MOST_SLOTS = 4  # left to itself: each trial holds a model in memory


class Started(Protocol):
    """A training process that was started, however."""

    @property
    def pid(self) -> int | None:
        """Its process id, None until it is known."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs; negative for a signal."""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to every process below it."""


@dataclass(frozen=True)
class Slot:
    """One place for one trial at a time."""

    index: int
    processes: int
    threads: int
    device: Literal["cpu", "cuda"]
    gpus: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """What a training here must find in its environment beside what it inherits."""
        threads = str(self.threads)
        return {
            "SWEEPLORA_SUPERVISED": "1",
            "SWEEPLORA_DEVICE": self.device,
            "CUDA_VISIBLE_DEVICES": ",".join(self.gpus),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }


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


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what another launcher said about its own processes: it would be taken for ours."""
    return {key: value for key, value in environment.items() if not _FOREIGN.match(key)}


class Own:
    """A training started as a process of its own, in its own session."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int | None:
        """The first process, which leads the group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit code of the first process."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """To the whole family; a launcher's workers live in sessions of their own."""
        signal_family(self._process.pid, number)


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


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Names of the GPUs a child would see, without importing torch."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    told = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=30)
    lines = [line for line in told.stdout.splitlines() if line.startswith("GPU ")]
    return tuple(str(index) for index in range(len(lines)))


def signal_family(pid: int, number: signal.Signals) -> None:
    """Signal a process's group and the groups of every process below it; gone ones are no error."""
    for one in (*descendants(pid), pid):
        _signal_group(one, number)


def descendants(pid: int) -> list[int]:
    """Process ids of all children of `pid`, theirs before them."""
    found: list[int] = []
    for task in _listed(Path(f"/proc/{pid}/task")):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found += [*descendants(child), child]
    return found


def birth(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; with the id it names one process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []

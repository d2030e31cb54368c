"""Trainings as local processes: signalled with all their descendants, and told apart from other processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from sweeplora.rundir.folder import LOG

EXIT_LOST = 256
"""Exit code of a training whose parent died, so that nobody saw its own; no process ends with it."""

WORKERS = "sweeplora.launch.preload"
"""The module that a worker's command line names: that of the parent that it was forked from."""

_ANOTHER_LAUNCHERS = re.compile(
    r"(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|GROUP_RANK|MASTER_\w+|ACCELERATE_\w+|TORCHELASTIC_\w+)$"
)
_KILL_SECONDS = 5.0
_VMSTAT = Path("/proc/vmstat")


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without another launcher's variables, which would be mistaken for ours."""
    return {key: value for key, value in environment.items() if not _ANOTHER_LAUNCHERS.match(key)}


class Subprocess:
    """The training of one run folder as a separate process in its own session."""

    def __init__(self, process: subprocess.Popen[bytes], run: Path) -> None:
        self._process = process
        self._run = run
        self._ended = False

    @property
    def pid(self) -> int | None:
        """Id of the first process, the group leader."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit code of the first process once all the processes it started have ended; None before.

        When the first of several is killed, the others still write to the run folder.
        """
        code = self._process.poll()
        if code is not None and not self._ended:
            left = trainings_of(self._run)
            for pid in left:
                signal_family(pid, signal.SIGKILL)
            self._ended = not left
        return code if self._ended else None

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole process tree; the workers of `accelerate launch` have their own sessions."""
        if self._process.poll() is None:
            signal_family(self._process.pid, number)


def signal_family(pid: int, number: signal.Signals) -> None:
    """Signal the process groups of a process and all its descendants; ended ones are no error."""
    for one in (*descendants(pid), pid):
        _signal_group(one, number)


def descendants(pid: int) -> list[int]:
    """Process ids of all descendants of `pid`, each after its own descendants."""
    found: list[int] = []
    for task in _listed(Path(f"/proc/{pid}/task")):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found += [*descendants(child), child]
    return found


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot, None if it ended; with its id this identifies a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def trainings_of(run: Path) -> list[int]:
    """Processes that train this run folder: their output goes to its log, or their command line ends with it.

    A worker's command line names no run; its output goes to the log of the one that it trains.
    """
    log = os.path.realpath(run / LOG)
    return [
        int(entry.name)
        for entry in _listed(Path("/proc"))
        if entry.name.isdigit() and (_output(entry) == log or _names(entry, run))
    ]


def is_worker(pid: int) -> bool:
    """Whether a process trains one run folder after another (see `launch.workers`)."""
    return WORKERS.encode() in _words(Path(f"/proc/{pid}"))


def _output(process: Path) -> str | None:
    """Where a process's standard output goes; None if it has ended or is somebody else's."""
    try:
        return os.readlink(process / "fd" / "1")
    except OSError:
        return None


def _names(process: Path, run: Path) -> bool:
    words = _words(process)
    return len(words) > 2 and b"-m" in words and words[-1] == str(run).encode()


def _words(process: Path) -> list[bytes]:
    """A process's command line; empty if it has ended."""
    try:
        return (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def end_all(pids: Iterable[int], grace_seconds: float) -> None:
    """Terminate processes, children or not, with their descendants: SIGTERM, and after the grace period SIGKILL."""
    alive = [pid for pid in pids if start_ticks(pid) is not None]
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, _KILL_SECONDS)):
        for pid in alive:
            signal_family(pid, number)
        deadline = time.monotonic() + seconds
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = [pid for pid in alive if start_ticks(pid) is not None]


def oom_kills() -> int:
    """How often this machine's kernel has killed a process for lack of memory; 0 if it does not say."""
    try:
        lines = _VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.partition(" ")[2]) for line in lines if line.startswith("oom_kill "))


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

"""A training as a process: how it is started, signalled and told from others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

LOST = 256
"""Exit code of a training whose parent died, so that nobody saw its own; no process ends with it."""


_FOREIGN = re.compile(
    r"(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|GROUP_RANK|MASTER_\w+|ACCELERATE_\w+|TORCHELASTIC_\w+)$"
)


class Started(Protocol):
    """A training process that was started, however."""

    @property
    def pid(self) -> int | None:
        """Its process id, None until it is known."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs; negative for a signal."""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to every process below it."""


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

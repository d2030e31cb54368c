"""A launcher whose trainings are the stand-in, run to their end in this process: no process costs any time."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment
from sweeplora.launch.launcher import AttemptRules, Plan
from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.folder import RunDir
from sweeplora.sweep.study import run
from tests.launchers import CONF, name_them
from tests.sweep import standin
from tests.sweep.drive import check as sign


class Ended(NamedTuple):
    """A training that has ended."""

    exit_code: int
    pid: int | None = None

    def poll(self) -> int:
        """Its exit code."""
        return self.exit_code

    def signal(self, number: signal.Signals) -> None:
        """Nothing: it has ended."""


@dataclass(frozen=True)
class Inline:
    """One slot, in this process."""

    attempts: int = 2
    on_oom: str = "fail"

    @property
    def rules(self) -> AttemptRules:
        """As many attempts as were given."""
        return AttemptRules(self.attempts, False, 1.0, self.on_oom == "halve")

    def plan(self, most: int, shape: Shape | None = None) -> Plan:
        """The one slot."""
        shape = shape or Shape(1, 1)
        return Plan([Slot(0, shape.processes, shape.threads, "cpu", ())])

    def start(self, run: RunDir, slot: Slot, module: str) -> Ended:
        """Run the stand-in to its end."""
        before = os.environ["OMP_NUM_THREADS"]
        os.environ["OMP_NUM_THREADS"] = str(slot.threads)
        try:
            with run.log.open("a") as log, contextlib.redirect_stdout(log):
                return Ended(standin.main([str(run.path)]))
        finally:
            os.environ["OMP_NUM_THREADS"] = before

    def close(self, kill: bool = False) -> None:
        """Nothing is left to end."""


FILE = (CONF / "launcher" / "inline.yaml").read_text()


def study(folder: Path, *words: str, check: Callable[[Configuration], Experiment] = sign) -> tuple[int, str]:
    """Run a command in this process with the stand-in, in `folder`: exit code, and all that it printed."""
    name_them(folder)
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said):
        try:
            code = run(("tracking=none", "launcher=inline", *words), compose, check, "standin")
        except UserError as error:
            return 2, str(error)
    return code, said.getvalue()

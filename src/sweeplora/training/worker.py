"""The process that trains run folders: one, as `python -m`, or several one after another on a base that it keeps."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
import yaml

from sweeplora.content import sha256
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Result, Status, write_result
from sweeplora.rundir.state import end_state
from sweeplora.training.distributed import Processes
from sweeplora.training.groups import ConfigGroups, build_groups
from sweeplora.training.prepare import BaseSettings, HeldBase, base_settings, hold
from sweeplora.training.stop import INTERRUPTED, Interrupted, Stop
from sweeplora.training.train import train

EXIT_CODES: dict[Status, int] = {"finished": 0, "failed": 1, "refused": 2, "diverged": 3, "interrupted": INTERRUPTED}


class Worker:
    """Trains run folders one after another in one process, on one base for as long as it fits them."""

    def __init__(self) -> None:
        self._settings: BaseSettings | None = None
        self._base: HeldBase | None = None

    def fits(self, run: RunDir) -> bool:
        """Whether the base that is held is the one that the run folder's training needs."""
        return self._settings is None or self._settings.key == base_settings(_groups(run)).key

    def train(self, run: RunDir) -> int:
        """Train one run folder; returns the exit code of EXIT_CODES."""
        stop = Stop(run.lock if os.environ.get("SWEEPLORA_SUPERVISED") == "1" else None)
        try:
            return reported(run, lambda: self._trained(run, stop))
        finally:
            stop.close()

    @property
    def is_sound(self) -> bool:
        """Whether the base is as it was before the last training."""
        return True

    def _trained(self, run: RunDir, stop: Stop) -> Result:
        groups = _groups(run)
        processes = Processes(groups.train.mixed_precision, _device(), stop)
        _use_given_threads()
        if self._base is None:
            self._settings = base_settings(groups)
            self._base = hold(self._settings, processes)
        return train(run, groups, self._base, processes)


def _groups(run: RunDir) -> ConfigGroups:
    return build_groups(yaml.safe_load(run.config.read_text()))


def main(arguments: Sequence[str]) -> int:
    """Train the run folder named on the command line; returns the exit code of EXIT_CODES."""
    return Worker().train(RunDir(Path(arguments[0])))


def reported(run: RunDir, work: Callable[[], Result]) -> int:
    """Do a training's work, write what came of it to the run folder, and return its exit code."""
    started = time.monotonic()
    try:
        result = work()
    except UserError as error:
        result = Result("refused", str(error))
    except Interrupted as error:
        result = Result("interrupted", str(error))
    except Exception as error:  # any error becomes the run's result; its traceback goes into the log
        traceback.print_exc()
        result = Result("failed", f"{type(error).__name__}: {error}")
    print(f"{result.status}: {result.message}", flush=True)
    if os.environ.get("RANK", "0") == "0":
        result.seconds = round(time.monotonic() - started, 3)
        if result.weights is not None:
            result.weights_sha256 = sha256(run.path / result.weights)
        try:
            write_result(run, result)
        except OSError as error:  # only the log and the exit code can still say how it ended
            print(error, flush=True)
            return EXIT_CODES["failed"]
        end_state(run, result.status)
    return EXIT_CODES[result.status]


def _device() -> Literal["cpu", "cuda"]:
    asked = os.environ.get("SWEEPLORA_DEVICE")
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if asked == "cuda" else "cpu"


def _use_given_threads() -> None:
    """Use the launcher's number of threads: a preloaded parent read the variable before it was set."""
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

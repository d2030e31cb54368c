"""The process that trains run folders: one, as `python -m`, or several one after another on a base that it keeps."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from sweeplora.content import sha256, state_of_files
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Result, Status, write_result
from sweeplora.rundir.state import end_state
from sweeplora.rundir.yaml_text import read_yaml
from sweeplora.training.distributed import Processes
from sweeplora.training.groups import ConfigGroups, build_groups
from sweeplora.training.leftovers import (
    State,
    differences,
    forget,
    free_memory,
    process_wide,
    seed_ambient,
    state_of,
    users_modules,
)
from sweeplora.training.library_state import LibraryState
from sweeplora.training.prepare import HeldBase, base_settings, hold
from sweeplora.training.stop import INTERRUPTED, Interrupted, Stop
from sweeplora.training.train import train

EXIT_CODES: dict[Status, int] = {"finished": 0, "failed": 1, "refused": 2, "diverged": 3, "interrupted": INTERRUPTED}


class _Surroundings(NamedTuple):
    """The process before any part of a user's ran in it."""

    settings: State
    libraries: LibraryState


class _Held(NamedTuple):
    """A base, what it was held for, and the state that a training has to leave it in; None where none follows.

    `sources`: the user's own files that were loaded when it was made.
    """

    base: HeldBase
    key: str
    state: State | None
    sources: tuple[Path, ...]
    sources_state: str


class Worker:
    """Trains run folders one after another in one process, on one base for as long as it fits them.

    A user's own modules are imported anew for every training. `once`: only one training will be asked for.
    """

    def __init__(self, once: bool = False) -> None:
        self._once = once
        self._modules = set(sys.modules)
        self._held: _Held | None = None
        self._before: _Surroundings | None = None
        self._last_failed = False
        self._config: tuple[str, ConfigGroups] | None = None

    def fits(self, run: RunDir) -> bool:
        """Whether the run folder's training would load what is held; one to be refused fits, since it loads nothing."""
        held = self._held
        if held is None:
            return True
        try:
            groups = self._read(run)
            same = base_settings(groups).key == held.key and held.base.is_current(groups.data)
        except Exception:  # the training says what is wrong
            return True
        return same and held.sources_state == state_of_files(held.sources)

    def train(self, run: RunDir) -> int:
        """Train one run folder; returns the exit code of EXIT_CODES."""
        stop = Stop(run.lock if os.environ.get("SWEEPLORA_SUPERVISED") == "1" else None)
        try:
            code = reported(run, lambda: self._trained(run, stop))
        finally:
            stop.close()
        self._last_failed = code == EXIT_CODES["failed"]
        forget(users_modules(sys.modules.keys() - self._modules))
        return code

    def is_sound(self) -> bool:
        """Whether a base is held and all is as before: the base, the process, the libraries; no training failed."""
        held, before = self._held, self._before
        if held is None or held.state is None or before is None or self._last_failed:
            return False
        different = [
            *differences(held.state, state_of(held.base.family)),
            *differences(before.settings, process_wide()),
            *before.libraries.replaced(),
        ]
        if different:
            print(f"this worker ends, since a training left {different[:5]} changed", file=sys.stderr, flush=True)
        return not different

    def _read(self, run: RunDir) -> ConfigGroups:
        """The run's configuration, built once for the question whether it fits and for its training."""
        text = run.config.read_text()
        if self._config is None or self._config[0] != text:
            config = read_yaml(text)
            seed_ambient(int(config["seed"]), torch.device(_device()))
            self._config = text, build_groups(config)
        return self._config[1]

    def _trained(self, run: RunDir, stop: Stop) -> Result:
        precision = read_yaml(run.config.read_text())["train"]["mixed_precision"]
        processes = Processes(precision, _device(), stop)
        _use_given_threads()
        if self._before is None and not self._once:
            self._before = _Surroundings(process_wide(), LibraryState())
        groups, self._config = self._read(run), None
        if self._held is None:
            self._held = self._hold(groups, processes)
        else:
            free_memory(processes.device)
        return train(run, groups, self._held.base, processes)

    def _hold(self, groups: ConfigGroups, processes: Processes) -> _Held:
        settings = base_settings(groups)
        base = hold(settings, processes)
        sources = tuple(users_modules(sys.modules.keys() - self._modules).values())
        state = None if self._once else state_of(base.family)
        return _Held(base, settings.key, state, sources, state_of_files(sources))


def main(arguments: Sequence[str]) -> int:
    """Train the run folder named on the command line; returns the exit code of EXIT_CODES."""
    return Worker(once=True).train(RunDir(Path(arguments[0])))


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

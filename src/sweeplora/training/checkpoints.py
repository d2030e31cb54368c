"""The state of a training on disk: written now and then, and what a later attempt goes on from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sweeplora.content import sha256
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.signature import signed_part
from sweeplora.rundir.state import About, about_of, difference, read_origin
from sweeplora.tensors.stored import UnreadableFile
from sweeplora.tensors.tree import NotStorable, read_tree, write_tree
from sweeplora.training.loop import Trainer
from sweeplora.training.outputs import Outputs
from sweeplora.training.previews.settings import is_due
from sweeplora.training.retention import remove_unfinished


class Unfit(Exception):
    """A state that a run cannot go on from; the message says why."""


def state_of(run: RunDir, device: torch.device) -> dict[str, Any]:
    """The state in a run's folder, its tensors where they were: on `device` or on the CPU.

    Raises Unfit for a file that is torn or changed, that belongs to another experiment or another version of the code,
    or that is ahead of metrics.jsonl or scores.jsonl.
    """
    try:
        tree, content = read_tree(run.state, device)
        about, written = about_of(content), dict(tree["outputs"]["written"])
    except (UnreadableFile, OSError) as error:
        raise Unfit(str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unfit(f"it is no state that this version of sweeplora writes: {error}") from error
    why = difference(about.origin, read_origin(run))
    if why is not None:
        raise Unfit(why)
    for name, size in written.items():
        if not (run.path / name).exists() or (run.path / name).stat().st_size < size:
            raise Unfit(f"{name} is shorter than it was then")
    return tree


class Checkpoints:
    """Writes the state of a run between its steps, and reads it back. Rank 0 writes, every process reads.

    The state says what is done, not what comes next: validation, saving and previews that were due at its step and
    are not in it are made up for when a training goes on.
    """

    def __init__(self, run: RunDir, config: Mapping[str, Any], trainer: Trainer, outputs: Outputs, steps: int) -> None:
        self._run = run
        self._trainer = trainer
        self._outputs = outputs
        self._num_steps = steps
        self._origin = read_origin(run)
        self._config = signed_part(config)
        self._seconds = 60.0 * trainer.step_settings.train.checkpoint_minutes
        self._last = time.monotonic()
        self._storable = True
        if trainer.processes.is_main:
            remove_unfinished(run.checkpoints)

    def resume(self) -> None:
        """Go on from the run's state if there is one, else from that of another run if `train.resume` names one.

        A state of the run that does not fit is passed over with a line in the log. Raises UserError for another run's.
        """
        file = self._run.state
        found = self._own_state()
        is_own = not self._trainer.processes.any(found is None)
        if not is_own:
            other = self._trainer.step_settings.train.resume
            if other is None:
                return
            file = Path(other)
            found = self._others_state(file)
        assert found is not None, "every process has the state, or none"
        self._load(found, file)
        self._outputs.load(found["outputs"], None if is_own else file)
        whose = "" if is_own else f", the state {file}"
        self._say(f"goes on from step {self._trainer.step} of {self._num_steps}{whose}")

    def step_done(self) -> None:
        """Write the state if it is due after this step, or was asked for."""
        trainer = self._trainer
        if not trainer.processes.is_main:
            return
        if self._is_wanted() or is_due(trainer.step, trainer.step_settings.train.checkpoint_every_steps):
            self._write()

    def between(self) -> None:
        """Write the state if it was asked for, or is due by now, during a validation, a saving or a preview."""
        if self._trainer.processes.is_main and self._trainer.step and self._is_wanted():
            self._write()

    def _is_wanted(self) -> bool:
        asked = self._trainer.processes.stop.take_state_request()
        return asked or (self._seconds > 0 and time.monotonic() >= self._last + self._seconds)

    def stopped(self) -> None:
        """Write the state of a training that was asked to stop; every process calls this and waits for it."""
        if self._trainer.processes.is_main and self._trainer.step:
            self._write()
        self._trainer.processes.any(False)

    def finished(self) -> None:
        """Write the last state of a finished training that keeps it."""
        if self._trainer.processes.is_main and self._trainer.step_settings.train.keep_state:
            self._write()

    def _own_state(self) -> Mapping[str, Any] | None:
        try:
            if not self._run.state.exists():
                return None
            return state_of(self._run, self._trainer.processes.device)
        except (Unfit, OSError) as why:
            self._say(f"{self._run.state} is passed over, the training starts anew: {why}")
            return None

    def _others_state(self, file: Path) -> dict[str, Any]:
        try:
            if self._origin.contents.get("train.resume", sha256(file)) != sha256(file):
                raise UserError("train.resume", file, "has changed since this run began; begin another run from it")
            return read_tree(file, self._trainer.processes.device)[0]
        except (UnreadableFile, OSError) as error:
            raise UserError("train.resume", file, f"cannot be read: {error}") from error

    def _load(self, state: Mapping[str, Any], file: Path) -> None:
        try:
            self._trainer.load(state["trainer"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError("state", file, f"{error}; without this file the training starts anew") from error

    def _write(self) -> None:
        """Write the state; if that fails, the file before stays and the training goes on."""
        if not self._storable:
            return
        step = self._trainer.step
        self._last = time.monotonic()
        best = self._outputs.patience.step, self._outputs.best_sha256
        about = About(self._origin, step, self._num_steps, self._config, *best)
        try:
            self._run.checkpoints.mkdir(exist_ok=True)
            tree = {"trainer": self._trainer.state(), "outputs": self._outputs.state()}
            write_tree(self._run.state, tree, asdict(about))
        except OSError as error:
            self._say(f"the state of step {step} is not written, an earlier one stays: {error}")
        except NotStorable as error:
            self._storable = False
            self._say(f"this training has no state that can be written, it would start anew: {error}")

    def _say(self, line: str) -> None:
        if self._trainer.processes.is_main:
            print(line, flush=True)

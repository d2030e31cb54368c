"""The weights files of a run: their names, and which of them are deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Write = Callable[[Path], None]


@dataclass(frozen=True)
class Retention:
    """Keep the weights of the last `last_epochs` epochs and those from the last `last_steps` steps; 0 keeps all."""

    last_epochs: int
    last_steps: int


class SavedWeights:
    """Names, writes and deletes the weights files of one run.

    It deletes only files that it wrote itself, and never the newest. Names are as in sd-scripts:
    `<name>-000002` after an epoch, `<name>-step00000100` after a step, `<name>` at the end.
    """

    def __init__(self, folder: Path, stem: str, suffix: str, retention: Retention) -> None:
        self._folder = folder
        self._stem = stem
        self._suffix = suffix
        self._retention = retention
        self._epochs: list[Path] = []
        self._steps: list[tuple[int, Path]] = []
        self.newest: Path | None = None

    def epoch(self, epoch: int, write: Write) -> None:
        """Write the weights of an epoch and delete those of epochs before the last few."""
        mark = f"-{epoch:06d}"
        if self._epochs and self._epochs[-1] == self._path(mark):
            return  # an earlier attempt did all of this
        self._epochs.append(self._written(mark, write))
        count = self._retention.last_epochs
        while count and len(self._epochs) > count:
            self._epochs.pop(0).unlink(missing_ok=True)

    def step(self, step: int, write: Write) -> None:
        """Write the weights of an optimizer step and delete those of steps before the last few."""
        if self._steps and self._steps[-1][0] == step:
            return
        self._steps.append((step, self._written(f"-step{step:08d}", write)))
        window = self._retention.last_steps
        while window and self._steps[0][0] < step - window:
            self._steps.pop(0)[1].unlink(missing_ok=True)

    def last(self, write: Write) -> None:
        """Write the final weights."""
        self._written("", write)

    def state(self) -> dict[str, Any]:
        """What was written and not deleted, by name."""
        return {
            "epochs": [path.name for path in self._epochs],
            "steps": [[step, path.name] for step, path in self._steps],
            "newest": None if self.newest is None else self.newest.name,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, in the same folder."""
        self._epochs = [self._folder / name for name in state["epochs"]]
        self._steps = [(step, self._folder / name) for step, name in state["steps"]]
        self.newest = None if state["newest"] is None else self._folder / state["newest"]

    def _written(self, mark: str, write: Write) -> Path:
        path = self._path(mark)
        write(path)
        self.newest = path
        return path

    def _path(self, mark: str) -> Path:
        return self._folder / f"{self._stem}{mark}{self._suffix}"


def remove_unfinished(folder: Path) -> None:
    """Delete partial files of a killed attempt in a folder, which `rundir.files.write_whole` names `.<name>.….tmp`."""
    for file in folder.glob(".*.tmp"):
        file.unlink(missing_ok=True)

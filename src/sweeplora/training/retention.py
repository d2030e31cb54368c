"""The weights that a run keeps: their names, and which of them are deleted again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Write = Callable[[Path], None]


@dataclass(frozen=True)
class Retention:
    """How many are kept: weights of so many last epochs, and of steps so many steps back; 0 keeps all."""

    last_epochs: int
    last_steps: int


class Kept:
    """The files of weights of one run.

    Only files that this object had written are ever deleted, and never the newest. Names are those of
    sd-scripts: `<name>-000002` after an epoch, `<name>-step00000100` after a step, `<name>` at the end.
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
        """Write the weights of an epoch and delete those of epochs that are too long ago."""
        self._epochs.append(self._written(f"-{epoch:06d}", write))
        count = self._retention.last_epochs
        while count and len(self._epochs) > count:
            self._epochs.pop(0).unlink(missing_ok=True)

    def step(self, step: int, write: Write) -> None:
        """Write the weights of an optimizer step and delete those of steps that are too long ago."""
        self._steps.append((step, self._written(f"-step{step:08d}", write)))
        window = self._retention.last_steps
        while window and self._steps[0][0] < step - window:
            self._steps.pop(0)[1].unlink(missing_ok=True)

    def last(self, write: Write) -> None:
        """Write the weights of the end."""
        self._written("", write)

    def _written(self, mark: str, write: Write) -> Path:
        path = self._folder / f"{self._stem}{mark}{self._suffix}"
        write(path)
        self.newest = path
        return path

"""Early stopping of a training whose validation loss no longer falls: `train.patience`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sweeplora.content import sha256


@dataclass
class Patience:
    """How long a training waits for a better validation. `most`: validations without one; 0 waits for ever.

    `best` and `losses` are the mean and the losses per triple of the best validation of a trained network, at `step`.
    """

    most: int
    best: float = math.inf
    step: int = 0
    losses: tuple[float, ...] = ()
    waited: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether the training stops."""
        return 0 < self.most <= self.waited

    def takes(self, step: int, mean: float, losses: tuple[float, ...]) -> bool:
        """Take in the validation after `step`; True if it is the best so far."""
        if self.most == 0 or step == 0:
            return False
        if mean >= self.best:
            self.waited += 1
            return False
        self.best, self.step, self.losses, self.waited = mean, step, losses, 0
        return True

    def state(self) -> dict[str, Any]:
        """What a training that goes on needs."""
        return asdict(self) | {"losses": list(self.losses)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; the limit is the configuration's."""
        for field in fields(self):
            if field.name != "most":
                setattr(self, field.name, state[field.name])
        self.losses = tuple(self.losses)

    def carry_on(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned in the run before this one; a patience that had run out waits anew."""
        self.load(state)
        if self.exhausted:
            self.waited = 0


def best_weights(checkpoints: Path, save_as: str) -> Path:
    """Where a run keeps the weights of its best validation, beside its state."""
    return checkpoints / f"best.{save_as}"


def best_before(state: Path, save_as: str, digest: str) -> Path | None:
    """The weights of the best validation beside another run's state, of which it holds the sha256 `digest`.

    None if they are not there, in another format, or of a later validation than the state.
    """
    file = best_weights(state.parent, save_as)
    return file if digest and file.is_file() and sha256(file) == digest else None

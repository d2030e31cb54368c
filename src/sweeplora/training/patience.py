"""Early stopping of a training whose validation loss no longer falls: `train.patience`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


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

"""The factor that keeps the gradients of half precision (fp16) within what it can hold."""

from __future__ import annotations

_START = 2.0**16
_PATIENCE = 2000
"""Good steps in a row before the scale is doubled: the start, the steps and the factors are torch's GradScaler's."""


class LossScale:
    """What a loss is multiplied by before the backward pass: halved after an overflow, doubled after many good steps.

    `FlatGradients.clip` takes it out again. All processes see the same summed gradients and so the same scale.
    """

    def __init__(self) -> None:
        self.value = _START
        self._good = 0

    def update(self, finite: bool) -> None:
        """Learn from a step whose gradients were finite, or were not and so were thrown away."""
        if not finite:
            self.value, self._good = self.value / 2, 0
            return
        self._good += 1
        if self._good == _PATIENCE:
            self.value, self._good = self.value * 2, 0

    def state_dict(self) -> dict[str, float]:
        """What a resumed training needs."""
        return {"value": self.value, "good": self._good}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what `state_dict` gave."""
        self.value, self._good = state["value"], int(state["good"])

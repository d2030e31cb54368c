"""The factor that keeps gradients within the range of half precision (fp16)."""

from __future__ import annotations

from collections.abc import Mapping

_START = 2.0**16
_PATIENCE = 2000
"""Good steps in a row before the scale doubles. Start, patience and factors are those of torch's GradScaler."""


class LossScale:
    """Multiplies the loss before the backward pass: halved after an overflow, doubled after many good steps.

    `FlatGradients.clip` undoes it. All processes see the same summed gradients, so their scales agree.
    """

    def __init__(self) -> None:
        self.value = _START
        self._good = 0

    def update(self, finite: bool) -> None:
        """Adapt to a step; `finite` is false if its gradients overflowed and the step was skipped."""
        if not finite:
            self.value, self._good = self.value / 2, 0
            return
        self._good += 1
        if self._good == _PATIENCE:
            self.value, self._good = self.value * 2, 0

    def state(self) -> dict[str, float]:
        """What the scale goes on from."""
        return {"value": self.value, "good": self._good}

    def load(self, state: Mapping[str, float]) -> None:
        """Go on from what `state` returned."""
        self.value, self._good = float(state["value"]), int(state["good"])

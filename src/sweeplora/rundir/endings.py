"""What the end of a weights file's name says: the epoch or the step that it was written after, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_EPOCH = re.compile(r"-(\d{6})$")
_STEP = re.compile(r"-step(\d{8})$")


def ending(name: str, stem: str) -> str:
    """What a file's name has behind the stem of the run's files, which may end in six digits itself."""
    return Path(name).stem.removeprefix(stem)


def epoch_in(text: str) -> int | None:
    """The epoch in an ending; None if there is none."""
    found = _EPOCH.search(text)
    return int(found[1]) if found else None


def step_in(text: str) -> int | None:
    """The step in an ending; None if there is none."""
    found = _STEP.search(text)
    return int(found[1]) if found else None


def step_of(text: str, epochs: Mapping[int, float], last: int) -> int | None:
    """The step of a weights file by its name's ending; None while its epoch has no metrics yet.

    `epochs`: the metric `epoch` by step. `last`: the run's last step.
    """
    step, epoch = step_in(text), epoch_in(text)
    if step is not None:
        return step
    if epoch is not None:
        return max((at for at, number in epochs.items() if number == epoch), default=None)
    return last

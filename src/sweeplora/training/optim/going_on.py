"""What another length does to the learning rate of a training that goes on; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from sweeplora.training.optim.schedules import Schedule

_SHARE = 0.1
"""A change by a tenth of the rate is no jump."""


@dataclass(frozen=True)
class Course:
    """A schedule with the number of optimizer steps that it is planned for."""

    schedule: Schedule
    num_steps: int

    def at(self, step: int) -> float:
        """The multiplier of the update after `step` updates."""
        return self.schedule(step, self.num_steps)


@dataclass(frozen=True)
class Change:
    """The multipliers of the last update before a training goes on and of the first one after.

    `as_planned`: what the first one would have been without the change. `jumps`: the difference is more than a tenth of
    the rate, and more than either course changes by itself between these two updates.
    """

    last: float
    first: float
    as_planned: float
    jumps: bool

    @property
    def is_none(self) -> bool:
        """Whether the next update is as it was planned."""
        return self.first == self.as_planned


def change_at(before: Course, after: Course, step: int) -> Change:
    """What becomes of the multiplier where a training goes on after `step` >= 1 updates with another course."""
    last, first, planned = before.at(step - 1), after.at(step), before.at(step)
    by_itself = max(abs(planned - last), abs(first - after.at(step - 1)))
    difference = abs(first - last)
    return Change(last, first, planned, difference > max(by_itself, _SHARE * max(first, last)) + 1e-12)

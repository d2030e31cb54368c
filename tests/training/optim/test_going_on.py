"""Where another length lets a learning rate jump."""

from __future__ import annotations

from functools import partial

import pytest

from sweeplora.training.optim.going_on import Change, Course, change_at
from sweeplora.training.optim.schedules import Piecewise, Schedule, constant, cosine, linear, restarts

COSINE = partial(cosine, warmup=0, num_cycles=0.5)
LINEAR = partial(linear, warmup=0)


def change(schedule: Schedule, step: int, before: int, after: int) -> Change:
    return change_at(Course(schedule, before), Course(schedule, after), step)


@pytest.mark.parametrize("schedule", [COSINE, LINEAR])
def test_a_schedule_that_has_ended_at_nothing_would_jump_up(schedule: Schedule) -> None:
    found = change(schedule, 100, 100, 200)
    assert found.jumps and found.last < 0.02 and found.first == pytest.approx(0.5)


def test_a_shorter_length_would_jump_down() -> None:
    assert change(COSINE, 40, 100, 50).jumps


def test_a_constant_rate_does_not_notice() -> None:
    found = change(partial(constant, warmup=10), 100, 100, 200)
    assert found.is_none and not found.jumps


def test_near_the_beginning_a_longer_cosine_is_said_and_no_jump() -> None:
    found = change(COSINE, 10, 100, 200)
    assert not found.jumps and not found.is_none and found.first > found.as_planned


def test_a_schedules_own_steps_are_no_jumps() -> None:
    assert not change(Piecewise([1.0, 0.1], [100]), 100, 100, 200).jumps
    assert not change(partial(restarts, warmup=0, num_cycles=2), 50, 100, 100).jumps
    assert not change(LINEAR, 2, 4, 4).jumps  # a quarter a step, of four

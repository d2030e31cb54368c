"""Warm-ups and stairs that a training does not reach are said."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.config.compose import compose
from sweeplora.training.optim.too_short import too_short


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["scheduler.warmup=500"], "scheduler.warmup=500 is not over at the training's last step, 8"),
        (["scheduler=constant", "scheduler.warmup=8"], "scheduler.warmup=8 is not over"),
        (
            ["scheduler=warmup_stable_decay", "scheduler.warmup=6", "scheduler.decay=4"],
            "end after the training's last step, 8",
        ),
        (["scheduler=piecewise", "scheduler.values=[1,0.1,0]", "scheduler.until=[3,8]"], "scheduler.until=8 lies"),
        (["optimizer=schedulefree", "scheduler=constant", "optimizer.warmup_steps=9"], "optimizer.warmup_steps=9 is"),
    ],
)
def test_what_lies_beyond_the_last_step_is_said(overrides: list[str], said: str) -> None:
    (line,) = _said(overrides)
    assert said in line


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["scheduler.warmup=7"],
        ["scheduler.warmup=0.5"],
        ["scheduler=warmup_stable_decay", "scheduler.warmup=4", "scheduler.decay=4"],
        ["scheduler=piecewise", "scheduler.until=[7]"],
        ["scheduler=torch"],
    ],
)
def test_what_is_reached_is_not_worth_a_line(overrides: list[str]) -> None:
    assert _said(overrides) == []


def _said(overrides: list[str]) -> list[str]:
    config: dict[str, Any] = compose(overrides).config
    return too_short(config["scheduler"], config["optimizer"], 8)

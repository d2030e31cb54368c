"""The bytes that an optimizer keeps for each number it trains."""

from __future__ import annotations

import pytest

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.training.optim.measure import state_bytes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["optimizer=adamw"], 8.0),  # two moments
        (["optimizer=lion"], 4.0),  # one
        (["optimizer=sgd", "optimizer.momentum=0.9"], 4.0),
        (["optimizer=sgd", "optimizer.momentum=0.0", "optimizer.nesterov=false"], 0.0),
        (["optimizer=schedulefree"], 8.0),  # the average's base, and the second moment
    ],
)
def test_an_optimizer_keeps_its_moments_in_float32(words: list[str], expected: float) -> None:
    make = build(compose(words).config["optimizer"])
    assert state_bytes(make, (640, 8)) == expected
    assert state_bytes(make, (3,)) == expected


def test_a_factored_optimizer_keeps_rows_and_columns_alone() -> None:
    make = build(compose(["optimizer=adafactor"]).config["optimizer"])
    assert state_bytes(make, (512, 8)) == pytest.approx(4 * (512 + 8) / (512 * 8))

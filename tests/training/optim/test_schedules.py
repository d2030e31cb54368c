"""Schedules at every step: against transformers' and torch's own, the reference's numbers, and by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.optimization import get_piecewise_constant_schedule
from torch.optim import lr_scheduler
from transformers import optimization

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.config.rules import check_rules
from sweeplora.errors import UserError
from sweeplora.training.optim.schedules import Piecewise, Schedule
from sweeplora.training.optim.torch_schedules import stepped as read_off

STEPS = 37
RATE = 2e-4
REFERENCE = json.loads((Path(__file__).parents[2] / "expected" / "learning_rates.json").read_text())


def node(name: str) -> dict[str, Any]:
    """What a file of conf/scheduler holds."""
    found: dict[str, Any] = compose([f"scheduler={name}", f"optimizer.lr={RATE}"]).config["scheduler"]
    return found


def choice(name: str, **given: object) -> Schedule:
    """A file of conf/scheduler with some of its values changed, built as a training builds it."""
    if "path" in given:
        made = {"_target_": given["path"], "_partial_": True, **given["arguments"]}  # type: ignore[dict-item]
        given = {"make": made}
    schedule: Schedule = build(node(name) | given)
    return schedule


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: f"{case['scheduler']}-{case['given']}")
def test_every_step_has_the_reference_multiplier(case: dict[str, Any]) -> None:
    schedule = choice(case["scheduler"], **case["given"])
    found = [schedule(step, REFERENCE["steps"]) for step in range(REFERENCE["steps"])]
    assert found == pytest.approx(case["multipliers"], rel=1e-5, abs=1e-9)


def stepped(make: Callable[[torch.optim.Optimizer], Any], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    schedule = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"] / RATE)
        optimizer.step()
        schedule.step()
    return rates


LIBRARY: dict[str, tuple[dict[str, Any], Callable[[int], Callable[[Any], Any]]]] = {
    "constant": ({}, lambda w: lambda o: optimization.get_constant_schedule_with_warmup(o, w)),
    "linear": ({}, lambda w: lambda o: optimization.get_linear_schedule_with_warmup(o, w, STEPS)),
    "cosine": (
        {"num_cycles": 0.375},
        lambda w: lambda o: optimization.get_cosine_schedule_with_warmup(o, w, STEPS, num_cycles=0.375),
    ),
    "restarts": (
        {"num_cycles": 4},
        lambda w: lambda o: optimization.get_cosine_with_hard_restarts_schedule_with_warmup(o, w, STEPS, num_cycles=4),
    ),
    "polynomial": (
        {"power": 1.7, "lr_end": 1e-5},
        lambda w: lambda o: optimization.get_polynomial_decay_schedule_with_warmup(o, w, STEPS, 1e-5, 1.7),
    ),
    "inverse_sqrt": ({}, lambda w: lambda o: optimization.get_inverse_sqrt_schedule(o, w)),
    "cosine_min_lr": (
        {"min_lr_rate": None, "min_lr": 3e-5},
        lambda w: lambda o: optimization.get_cosine_with_min_lr_schedule_with_warmup(o, w, STEPS, min_lr=3e-5),
    ),
    "warmup_stable_decay": (
        {"decay": 12, "decay_type": "1-sqrt", "warmup_type": "1-sqrt", "min_lr_rate": 0.2},
        lambda w: (
            lambda o: optimization.get_wsd_schedule(
                o, w, 12, STEPS, min_lr_ratio=0.2, decay_type="1-sqrt", warmup_type="1-sqrt"
            )
        ),
    ),
}


@pytest.mark.parametrize("warmup", [0, 6, 0.25])
@pytest.mark.parametrize("name", LIBRARY)
def test_every_step_has_the_multiplier_of_transformers(name: str, warmup: float) -> None:
    given, make = LIBRARY[name]
    schedule = choice(name, warmup=warmup, **given)
    expected = stepped(make(int(warmup * STEPS) if warmup < 1 else int(warmup)), STEPS)
    assert [schedule(step, STEPS) for step in range(STEPS)] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_warm_up_rises_in_equal_steps_from_nothing_and_a_share_is_of_all_steps() -> None:
    for warmup in (10, 0.25):
        schedule = choice("constant", warmup=warmup)
        assert [schedule(step, 40) for step in range(12)] == [*[step / 10 for step in range(10)], 1.0, 1.0]


def test_cosines_by_hand() -> None:
    assert choice("cosine")(50, 100) == pytest.approx(0.5)
    assert choice("cosine", num_cycles=0.375)(100, 100) == pytest.approx(0.5 * (1 - 2**-0.5))
    assert choice("restarts", num_cycles=2)(25, 100) == pytest.approx(0.5)
    assert choice("restarts", num_cycles=2)(50, 100) == 1.0
    assert choice("cosine_min_lr", min_lr_rate=0.2)(100, 100) == pytest.approx(0.2)


def test_polynomial_and_inverse_root_by_hand() -> None:
    assert choice("polynomial", power=2.0, lr_end=0.0)(75, 100) == pytest.approx(1 / 16)
    assert choice("inverse_sqrt", warmup=0, timescale=50)(150, 400) == pytest.approx(math.sqrt(50 / 200))


def test_stairs_are_those_of_diffusers_whose_numbers_count_from_the_start() -> None:
    schedule = choice("piecewise", values=[1.0, 0.5, 0.1], until=[4, 9])
    expected = stepped(partial(get_piecewise_constant_schedule, step_rules="1:4,0.5:9,0.1"), 12)
    assert [schedule(step, 12) for step in range(12)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("polynomial", {"lr_end": 1.0}, r"scheduler\.lr_end=1\.0: must be below optimizer\.lr=0\.0002"),
        ("cosine_min_lr", {"min_lr": 1e-5}, r"scheduler\.min_lr_rate=0\.1.*give one of the two"),
        ("cosine_min_lr", {"min_lr_rate": None}, r"scheduler\.min_lr_rate=None.*give one of the two"),
        ("cosine_min_lr", {"min_lr_rate": None, "min_lr": 1.0}, r"scheduler\.min_lr=1\.0: must not be above"),
        ("warmup_stable_decay", {"decay_type": "linear", "num_cycles": 1.0}, r"scheduler\.num_cycles=1\.0: has no"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_rules("scheduler", node(name) | given)


def test_stairs_need_one_value_more_than_steps_and_rising_steps() -> None:
    with pytest.raises(UserError, match=r"scheduler\.until=\[10\]: 3 values need 2 steps"):
        Piecewise([1.0, 0.5, 0.1], [10])
    with pytest.raises(UserError, match=r"scheduler\.until=\[10, 10\]: must rise"):
        Piecewise([1.0, 0.5, 0.1], [10, 10])


def test_a_torch_scheduler_gives_its_multiplier_at_any_step_in_any_order() -> None:
    schedule = read_off(partial(lr_scheduler.CosineAnnealingLR, T_max=10, eta_min=1e-5), RATE)
    expected = stepped(partial(lr_scheduler.CosineAnnealingLR, T_max=10, eta_min=1e-5), 20)
    assert [schedule(step, 99) for step in (13, 2, 19, 13)] == pytest.approx([expected[s] for s in (13, 2, 19, 13)])


def test_a_function_that_makes_a_scheduler_serves_as_well_as_a_class() -> None:
    make = partial(optimization.get_linear_schedule_with_warmup, num_warmup_steps=2, num_training_steps=9)
    schedule = read_off(make, RATE)
    assert [schedule(step, 9) for step in range(9)] == pytest.approx(stepped(make, 9))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (partial(lr_scheduler.ReduceLROnPlateau, factor=0.5), "only counts steps"),
        (partial(lr_scheduler.OneCycleLR, max_lr=1e-3, total_steps=9), "momentum"),
        (partial(lr_scheduler.OneCycleLR, max_lr=1e-3, cycle_momentum=False), "total_steps"),
    ],
)
def test_a_torch_scheduler_that_needs_more_than_the_step_is_refused(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"scheduler.make={make.func.__name__}: .*{said}"):
        read_off(make, RATE)

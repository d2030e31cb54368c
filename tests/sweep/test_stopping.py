"""A pruner that can stop nothing is refused before anything is trained, by its key, its value and the mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.sweep.stopping import check_pruner, notices
from tests.sweep.drive import check


def refuse(words: Sequence[str], steps_per_epoch: int = 13) -> None:
    """Ask for a study of one experiment of 104 steps, whose epochs have so many."""
    configuration = compose(words)
    config: dict[str, Any] = configuration.config
    one = replace(check(configuration), steps=104, steps_per_epoch=steps_per_epoch)
    objective = config["sweep"]["objective"]
    check_pruner(config["pruner"], [objective] if isinstance(objective, str) else objective, [one])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pruner=rungs", "sweep.objective=file_mib"], "pruner=rungs: stops trials before their end, and file_mib"),
        (["pruner=median", "sweep.objective=file_mib"], "pruner=median: stops trials before their end, and file_mib"),
        (["pruner=hyperband", "sweep.objective=file_mib"], "pruner=hyperband: stops trials before"),
        (
            ["pruner=rungs", "sweep.objective=probe/loss", "train.probe_every_epochs=8"],
            "pruner=rungs: no probe/loss between step 26 and the last, 104; give train.probe_every_epochs=1",
        ),
        (["pruner=rungs", "train.validate_every_epochs=8"], "pruner=rungs: no validation between step 26 and the last"),
        (["pruner=rungs", "pruner.at=0.9", "sweep.objective=val/best"], "no validation between step 94 and the last"),
        (
            ["pruner=median", "train.validate_every_epochs=0"],
            "pruner=median: no trial has a val/loss before its last step; give train.validate_every_epochs=1",
        ),
        (["pruner=median", "train.validate_every_epochs=8"], "pruner=median: no trial has a val/loss before its last"),
        (["pruner=hyperband", "sweep.objective=probe/loss", "train.probe_every_epochs=9"], "no trial has a probe/loss"),
        (
            ["pruner=hyperband", "pruner.min_resource=100000"],
            "pruner.min_resource=100000: no trial has a val/loss between that step and its last; give at most 91",
        ),
        (["pruner=hyperband", "pruner.min_resource=92"], "give at most 91"),
        (["pruner=hyperband", "pruner.max_resource=3"], "pruner.max_resource=3: is below pruner.min_resource=4"),
        (["pruner=median", "pruner.n_warmup_steps=92"], "pruner.n_warmup_steps=92: no trial has a val/loss"),
        (["pruner=median", "pruner.n_warmup_steps=104", "sweep.objective=loss"], "give at most 103"),
        (["pruner=median", "sweep.objective=[val/loss,file_mib]"], "several objectives cannot be pruned"),
    ],
)
def test_a_pruner_that_can_stop_nothing_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        refuse(words)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["pruner=rungs"],
        ["pruner=rungs", "sweep.objective=probe/loss", "train.probe_every_epochs=4"],
        ["pruner=rungs", "pruner.at=0.9", "train.validate_every_steps=95"],
        ["pruner=rungs", "pruner.at=0.9", "sweep.objective=loss"],
        ["pruner=median", "pruner.n_warmup_steps=91"],
        ["pruner=hyperband", "pruner.min_resource=91"],
        ["pruner=none", "sweep.objective=file_mib"],
        ["pruner=patient", "sweep.objective=[val/loss,file_mib]"],
    ],
)
def test_a_pruner_that_has_something_to_decide_on_passes(words: list[str]) -> None:
    refuse(words)


def test_one_trial_that_can_be_stopped_is_enough_for_a_pruner_that_compares_at_any_step() -> None:
    long, short = (
        replace(check(compose(["pruner=median", "pruner.n_warmup_steps=50"])), steps=steps, steps_per_epoch=13)
        for steps in (104, 26)
    )
    check_pruner(long.config["pruner"], ["val/loss"], [short, long])
    with pytest.raises(UserError):
        check_pruner(long.config["pruner"], ["val/loss"], [short])


def test_a_pruner_for_too_few_trials_is_said() -> None:
    median, rungs, none = (compose([f"pruner={name}"]).config["pruner"] for name in ("median", "rungs", "none"))
    assert notices(median, 4) == ["pruner=median stops no trial, sweep.trials=4: the first 4 run to their end"]
    assert notices(median, 5) == [] and notices(none, 1) == [] and notices(rungs, 2) == []
    assert notices(rungs, 1) == ["pruner=rungs stops no trial, sweep.trials=1: one is compared with nothing"]

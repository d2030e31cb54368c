"""Whether the pruner of a study can stop any of its trials, asked before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeplora.errors import UserError
from sweeplora.experiment import Experiment
from sweeplora.report.objectives import FILE_SIZE
from sweeplora.sweep.search.rungs import rungs_of
from sweeplora.sweep.search.searchers import prunes

_FIRST_STEPS = ("n_warmup_steps", "min_resource")
"""Arguments of Optuna's pruners that are the step of their first verdict."""

_MORE_OFTEN = {
    "val/": "train.validate_every_epochs=1, or train.validate_every_steps",
    "probe/": "train.probe_every_epochs=1, or more epochs",
}


def check_pruner(pruner: Mapping[str, Any], objectives: Sequence[str], experiments: Sequence[Experiment]) -> None:
    """Raise UserError for a pruner that no trial gives anything to decide on before its last step.

    `experiments` cover the choices of the space. Rungs need a value between the rung and the end in every one.
    """
    if not prunes(pruner) or not experiments:
        return
    if len(objectives) > 1:
        raise UserError("pruner", "on", "several objectives cannot be pruned; give pruner=none or one objective")
    for objective in objectives:
        if objective == FILE_SIZE:
            mend = f"stops trials before their end, and {FILE_SIZE} is known at the end only; give pruner=none"
            raise UserError("pruner", _name(pruner), mend)
        if rungs_of(pruner) is not None:
            _check_rungs(pruner, objective, experiments)
        else:
            _check_first_step(pruner, objective, experiments)


def notices(pruner: Mapping[str, Any], trials: int) -> list[str]:
    """What a pruner for so many trials should be told about."""
    startup = pruner.get("n_startup_trials", 1)
    first = max(1, startup) if isinstance(startup, int) else 1
    if not prunes(pruner) or trials > first:
        return []
    told = "one is compared with nothing" if trials == 1 else f"the first {first} run to their end"
    return [f"pruner={_name(pruner)} stops no trial, sweep.trials={trials}: {told}"]


def _check_rungs(pruner: Mapping[str, Any], objective: str, experiments: Sequence[Experiment]) -> None:
    rungs = rungs_of(pruner)
    assert rungs is not None
    for one in experiments:
        first, last = rungs.step(one.steps), _last_measured(objective, one)
        if last < first:
            told = f"no validation between step {first} and the last, {one.steps}"
            mend = f"give train.validate_every_steps={first}, or pruner=none"
            if not objective.startswith("val/"):
                told = f"no {objective} between step {first} and the last, {one.steps}"
                mend = f"give {_more_often(objective)}, sweep.objective=val/loss, or pruner=none"
            raise UserError("pruner", "rungs", f"{told}; {mend}")


def _check_first_step(pruner: Mapping[str, Any], objective: str, experiments: Sequence[Experiment]) -> None:
    """Refuse one of Optuna's pruners whose first verdict would come after the last value before each trial's end."""
    lasts = [_last_measured(objective, one) for one in experiments]
    if max(lasts) == 0:
        mend = f"no trial has a {objective} before its last step; give {_more_often(objective)}, or pruner=none"
        raise UserError("pruner", _name(pruner), mend)
    least, most = pruner.get("min_resource"), pruner.get("max_resource")
    if isinstance(least, int) and isinstance(most, int) and most < least:
        raise UserError("pruner.max_resource", most, f"is below pruner.min_resource={least}: nothing would be stopped")
    for key in _FIRST_STEPS:
        first = pruner.get(key)
        if isinstance(first, int) and first > max(lasts):
            mend = f"no trial has a {objective} between that step and its last; give at most {max(lasts)}"
            raise UserError(f"pruner.{key}", first, mend)


def _last_measured(objective: str, experiment: Experiment) -> int:
    """The last step before a training's end with a value of the objective; 0 if there is none."""
    train = experiment.config["train"]
    if objective.startswith("val/"):
        return experiment.last_due(train["validate_every_epochs"], train["validate_every_steps"])
    if objective.startswith("probe/"):
        return experiment.last_due(train["probe_every_epochs"], 0)
    return experiment.steps - 1


def _more_often(objective: str) -> str:
    return next(mend for start, mend in _MORE_OFTEN.items() if objective.startswith(start))


def _name(pruner: Mapping[str, Any]) -> str:
    """A pruner by its class, as its choices are named: MedianPruner -> median."""
    return str(pruner["_target_"]).rpartition(".")[2].removesuffix("Pruner").lower()

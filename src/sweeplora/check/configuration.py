"""The check before compute: reports everything wrong with a configuration at once; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeplora.check.combinations import note_combinations
from sweeplora.check.identity import identify
from sweeplora.check.images import note_dataset, plan_length, steps_explained
from sweeplora.check.model import note_model
from sweeplora.check.place import note_place, remove_new
from sweeplora.check.previews import note_previews
from sweeplora.check.resume import check_resume, find_state
from sweeplora.check.shape import frozen, note_shape
from sweeplora.check.warnings import long_texts
from sweeplora.data.batches import Length
from sweeplora.data.dataset import Dataset
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Configuration, Experiment, steps_due
from sweeplora.rundir.state import here
from sweeplora.training.optim.too_short import too_short
from sweeplora.training.previews.prompts import rounded_sizes


def check(configuration: Configuration) -> Experiment:
    """Raise UserError for everything that cannot work in a configuration, or return its experiment.

    Every stage checks what it can; a stage that needs a value that was already refused is skipped. A refused
    configuration leaves no new files behind.
    """
    config = frozen(configuration.config)
    with _leaving_nothing(Path(str(config["runs"]))):
        return _checked(configuration, config)


def _checked(configuration: Configuration, config: Mapping[str, Any]) -> Experiment:
    problems = Problems()
    note_shape(config, problems)
    note_combinations(config, problems)
    note_place(config, problems)
    found = note_model(config, problems)
    dataset = note_dataset(config, found, problems)
    problems.attempt(("train", "data"), lambda: _check_patience(config["train"], dataset))
    prompts = note_previews(config["sample"], found, dataset, problems)
    length = problems.attempt(("train",), lambda: plan_length(config["train"], dataset)) if dataset else None
    if length is not None:
        problems.attempt(("train", "data"), lambda: _check_patience_to_spare(config["train"], length))
    problems.attempt(("train",), lambda: find_state(config["train"]["resume"]))
    problems.refuse()
    assert found is not None and prompts is not None and dataset is not None and length is not None
    identity = identify(configuration.config, found.model, dataset, draws=bool(prompts))
    origin = here(identity.signature, identity.contents, identity.code)
    return Experiment(
        config=configuration.config,
        overrides=configuration.overrides,
        signature=identity.signature,
        contents=identity.contents,
        code=identity.code,
        steps=length.steps,
        arithmetic=steps_explained(config["train"], length),
        validates=bool(dataset.validation),
        steps_per_epoch=length.steps_per_epoch,
        notices=(
            *configuration.notices,
            *check_resume(configuration.config, origin, length.steps),
            *found.notices,
            *dataset.notices,
            *long_texts(config, found.model, dataset, prompts),
            *rounded_sizes(prompts, found.model.divisor),
            *_patience_to_spare(config["train"], length),
            *too_short(config["scheduler"], config["optimizer"], length.steps),
        ),
    )


def _check_patience(train: Mapping[str, Any], dataset: Dataset | None) -> None:
    """Refuse to wait for a better validation where there is none before the end."""
    if not train["patience"] or dataset is None:
        return
    if not dataset.validation:
        raise UserError("train.patience", train["patience"], "no image is held out; give data.val_split=0.1, or 0")
    if not train["validate_every_epochs"] and not train["validate_every_steps"]:
        mend = "nothing is validated before the end; give train.validate_every_epochs=1, or 0"
        raise UserError("train.patience", train["patience"], mend)


def _validated(train: Mapping[str, Any], length: Length) -> set[int]:
    """The steps before the last that are validated after."""
    every = train["validate_every_epochs"], train["validate_every_steps"]
    return set[int]().union(*steps_due(length.steps, length.steps_per_epoch, *every))


def _check_patience_to_spare(train: Mapping[str, Any], length: Length) -> None:
    """Refuse to wait for a better validation where the last step's is the only one."""
    if train["patience"] and not _validated(train, length):
        mend = f"nothing is validated before the end, step {length.steps}; give train.validate_every_epochs=1, or 0"
        raise UserError("train.patience", train["patience"], mend)


def _patience_to_spare(train: Mapping[str, Any], length: Length) -> list[str]:
    """A notice where a training ends before its patience could: the first validation is always the best so far."""
    patience, last_epoch = train["patience"], (length.epochs - 1) * length.steps_per_epoch
    in_time = sum(step <= last_epoch for step in _validated(train, length)) if patience else 0
    if patience < in_time or not patience:
        return []
    return [
        f"train.patience={patience} ends no training early that validates {in_time} times before its last epoch; "
        "it only gives the weights of the best validation"
    ]


@contextmanager
def _leaving_nothing(runs: Path) -> Iterator[None]:
    before = runs.exists() if len(str(runs)) < 4096 else True
    try:
        yield
    except BaseException:
        if not before:
            remove_new(runs)
        raise

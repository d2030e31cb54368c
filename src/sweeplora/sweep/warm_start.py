"""`sweep.warm_start`: trials of a finished study that the search learns from, where the spaces overlap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sweeplora.errors import UserError
from sweeplora.experiment import Experiment
from sweeplora.overrides import parse
from sweeplora.report.words import near
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import (
    DamagedRecord,
    StudyRecord,
    TrialRecord,
    read_study,
    readable_trials,
    trial_folders,
)
from sweeplora.rundir.yaml_text import read_yaml
from sweeplora.sweep.search.known_points import Point, proposal_of, value_in
from sweeplora.sweep.search.proposals import inside, parameter
from sweeplora.sweep.search.rules import Rules, lookup
from sweeplora.sweep.search.space import Fixed, Space, all_keys

_MEASURED_BY = (
    *("data.val_split", "data.validation_seed", "data.resolution", "data.bucket", "data.bucket_min", "data.bucket_max"),
    *("data.bucket_step", "data.bucket_no_upscale", "data.caption_prefix", "data.caption_suffix", "data.class_tokens"),
    *("train.validation_images", "train.validation_timesteps", "train.validation_precision"),
)
"""What the validation loss is measured on and with, beside the contents of model and data."""


class Given(NamedTuple):
    """A trial of another study in this study's terms: which one, Optuna's parameters, and the objectives' values."""

    source: str
    params: Point
    values: tuple[float, ...]


class Here(NamedTuple):
    """The study that is to learn: its space, what its proposals have to keep, its objectives."""

    space: Space
    rules: Rules
    objectives: tuple[str, ...]


def read_warm_start(runs: Path, name: str, here: Here, first: Experiment) -> tuple[Given, ...]:
    """The trials of study `name` that lie in this space; `first`: one of the experiments that this study may propose.

    Raises UserError if there is no such study, if it has not finished, if it asked for other objectives or measured
    them on something else, and if none of its trials lies in the space.
    """
    study = _study(runs / name, name)
    if study.objectives != here.objectives:
        asked, wanted = ", ".join(study.objectives), ", ".join(here.objectives)
        raise UserError("sweep.warm_start", name, f"that study minimised {asked}, this one {wanted}")
    searched = frozenset(all_keys(here.space))
    found = []
    count = 0
    for folder, record in readable_trials(trial_folders(runs / name)):
        if record.verdict != "complete" or len(record.values) != len(here.objectives):
            continue
        count += 1
        config = _config(folder)
        _refuse_other_measure(name, record, config, first, searched)
        params = _params(here.space, record, config)
        proposal = None if params is None else proposal_of(here.space, params)
        if params is not None and proposal is not None and here.rules.allowed(proposal):
            found.append(Given(f"{name}/{record.number}", params, record.values))
    if not found:
        mend = f"none of its {count} complete trials lies in this space; leave it out, or search where it did"
        raise UserError("sweep.warm_start", name, mend)
    return tuple(found)


def _study(folder: Path, name: str) -> StudyRecord:
    try:
        study = read_study(folder)
    except DamagedRecord as error:
        raise UserError("sweep.warm_start", name, str(error)) from error
    if study is None:
        raise UserError("sweep.warm_start", name, f"there is no study in {near(folder)}")
    if study.state != "finished":
        mend = "that study has not finished: its trials may change; continue it first"
        raise UserError("sweep.warm_start", name, mend)
    return study


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = read_yaml(RunDir(folder).config.read_text())
    except (OSError, yaml.YAMLError):
        return {}
    return config if isinstance(config, Mapping) else {}


def _refuse_other_measure(
    name: str, record: TrialRecord, config: Mapping[str, Any], first: Experiment, searched: frozenset[str]
) -> None:
    """Raise UserError unless the trial's objective was measured as this study measures it."""
    for key in sorted({key for key in {**record.contents, **first.contents} if key.startswith(("model.", "data."))}):
        if record.contents.get(key) != first.contents.get(key):
            mend = f"its trial {record.number} has other contents of {key}: the losses cannot be compared"
            raise UserError("sweep.warm_start", name, mend)
    model = [f"model.{key}" for key in first.config["model"] if f"model.{key}" not in first.contents]
    for key in (*_MEASURED_BY, *model):
        theirs, ours = lookup(config, key)[1], lookup(first.config, key)[1]
        if key not in searched and theirs != ours:
            mend = f"its trial {record.number} has {key}={theirs}, here it is {ours}: the losses cannot be compared"
            raise UserError("sweep.warm_start", name, mend)


def _params(space: Space, record: TrialRecord, config: Mapping[str, Any], where: str = "") -> Point | None:
    """The trial as a point of the space, None if it lies outside."""
    params: Point = {}
    for key, dimension in space.dimensions.items():
        known, value = _value(key, record, config)
        matched = value_in(dimension, value) if known else None
        if matched is None:
            return None
        text, exact = matched
        if not isinstance(dimension, Fixed):
            params[parameter(key, where)] = exact
        branch = space.branches.get((key, text))
        inner: Point | None = {} if branch is None else _params(branch, record, config, inside(where, key, text))
        if inner is None:
            return None
        params |= inner
    return params


def _value(key: str, record: TrialRecord, config: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether a trial says what it had for a key, and its value: from its words, else from its configuration."""
    for override in reversed([parse(word) for word in record.overrides if "=" in word]):
        if override.key_or_group == key and not override.is_sweep_override():
            return True, override.value()
    known, value = lookup(config, key)
    return known and not isinstance(value, Mapping), value

"""Checks the base model's files, and that network, rates, loss and training suit the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.check.combinations import check_loss, check_rates
from sweeplora.check.parts import built
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Group
from sweeplora.models.base import Base
from sweeplora.models.facts import ModelFacts
from sweeplora.networks import blocks
from sweeplora.networks.algorithms import algorithm_of
from sweeplora.networks.file import fit
from sweeplora.networks.keys import selected


class CheckedModel(NamedTuple):
    """A model that was read, and warnings about it and its network, one line each."""

    model: ModelFacts
    notices: tuple[str, ...]


def note_model(config: Mapping[str, Any], problems: Problems) -> CheckedModel | None:
    """Read the model and add the problems found; None if the model itself cannot be used."""
    model = problems.attempt(("model",), lambda: _read(config["model"]))
    if model is None:
        return None
    network, rates, loss = config["network"], config["rates"], config["loss"]
    problems.attempt(("train",), lambda: _check_timesteps(config["train"], model))
    problems.attempt(("network",), lambda: blocks.check_counts(network, model.layout))
    problems.attempt(("rates", "network"), lambda: check_rates(rates, network, model.layout))
    problems.attempt(("loss",), lambda: check_loss(loss, model.prediction))
    said = problems.attempt(("network", "train"), lambda: _check_network(network, config["train"], model))
    merged = fit.hash_notices("model.base_weights", _merged(config["model"]))
    return CheckedModel(model, (*merged, *(said or ())))


def _read(node: Group) -> ModelFacts:
    source: Base = built(node)
    model = source.facts()
    fit.check_mergeable("model.base_weights", _merged(node), model)
    return model


def _merged(node: Mapping[str, Any]) -> list[Path]:
    return [Path(file) for file in node["base_weights"] or ()]


def _check_timesteps(train: Mapping[str, Any], model: ModelFacts) -> None:
    if train["max_timestep"] > model.num_timesteps:
        raise UserError("train.max_timestep", train["max_timestep"], f"the model has {model.num_timesteps}")


def _check_network(network: Mapping[str, Any], train: Mapping[str, Any], model: ModelFacts) -> list[str]:
    """Check that the trained layers exist, suit the algorithm and fit the initial file; returns warnings."""
    layers = selected(model, network)
    if not layers:
        raise UserError("network.preset", network["preset"], "selects no layer of this model; use full")
    algorithm = algorithm_of(network["_target_"])
    algorithm.check_layers(network, [layer.shape for layer in layers.values()])
    return [*algorithm.precision_notices(train["save_precision"]), *fit.check(network, model, layers)]

"""Checks the images of a data set, and that loss and network suit them; computes the length of a training on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeplora.check.model import CheckedModel
from sweeplora.check.parts import built
from sweeplora.config.signatures import signature_of
from sweeplora.data.batches import Length, length
from sweeplora.data.dataset import Dataset, Watched, keeps_text
from sweeplora.data.folder import Folder
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Group

_ANY_DIVISOR, _ANY_RESOLUTION = 1, 512
"""Used in place of an unreadable model's values, so that the images are still checked."""


def note_dataset(config: Mapping[str, Any], found: CheckedModel | None, problems: Problems) -> Dataset | None:
    """Read the data set and add the problems found; None if the data set itself cannot be used."""
    dataset = problems.attempt(("data", "runs"), lambda: _read(config, found))
    if dataset is None:
        return None
    problems.attempt(("network",), lambda: keeps_text(dataset, config["network"]["text_encoders"]))
    problems.attempt(("loss",), lambda: _check_masks(config["loss"], dataset))
    return dataset


def plan_length(train: Mapping[str, Any], dataset: Dataset) -> Length:
    """The optimizer steps of a training."""
    return length(dataset, train["batch_size"], train["accumulation"], train["epochs"], train["steps"])


def steps_explained(train: Mapping[str, Any], planned: Length) -> str:
    """How the number of steps is computed, in one line."""
    return (
        f"{planned.images} images an epoch in {planned.batches} batches of at most {train['batch_size']}; "
        f"{planned.batches} / {train['accumulation']} = {planned.steps_per_epoch} steps an epoch; "
        f"{planned.epochs} epochs: {planned.steps} steps"
    )


def _read(config: Mapping[str, Any], found: CheckedModel | None) -> Dataset:
    model = None if found is None else found.model
    sides = (_ANY_DIVISOR, _ANY_RESOLUTION) if model is None else (model.divisor, model.resolution)
    state = _state(built(config["data"]))
    if state is None:
        return _read_folders(config["data"], sides, str(config["runs"]))
    return _read_once(config["data"], sides, str(config["runs"]), state)


def _state(images: object) -> str | None:
    """The state of the folders' files; None where it cannot be told, or where reading them will say what is wrong."""
    try:
        return images.state() if isinstance(images, Watched) else None
    except UserError:
        return None


@functools.lru_cache(maxsize=4)
def _read_once(data: Group, sides: tuple[int, int], runs: str, _state: str) -> Dataset:
    """The data set, read once for as long as its files are in this state."""
    return _read_folders(data, sides, runs)


def _read_folders(data: Group, sides: tuple[int, int], runs: str) -> Dataset:
    images: Folder = built(data)
    return images.read(*sides, Path(runs, "cache"))


def _check_masks(loss: Mapping[str, Any], dataset: Dataset) -> None:
    masked = next((one for one in dataset.train if one.mask is not None), None)
    if masked is not None and not _takes_mask(loss):
        raise UserError("loss", loss["_target_"], f"takes no mask, and {masked.name} has one; use loss=mse")


def _takes_mask(node: Mapping[str, Any]) -> bool:
    """Whether a loss, a function or a callable object, has an argument for the mask."""
    target = node["_target_"]
    called = signature_of(target if node.get("_partial_") else f"{target}.__call__", "loss._target_")
    return called is None or called.open or "mask" in called.parameters

"""Everything that can be wrong with a configuration, found before compute; no torch, cheapest first."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from hydra.utils import get_object

from sweeplora.check.combinations import check_half_precision, check_loss, check_optimizer, check_rates
from sweeplora.check.identity import identify
from sweeplora.check.place import exists_and_writable
from sweeplora.check.warnings import too_long
from sweeplora.config.binding import MISSING, check_node, check_value
from sweeplora.config.nearest import nearest
from sweeplora.config.rules import arguments, check_rules
from sweeplora.config.signatures import signature_of
from sweeplora.data.batches import Length, length
from sweeplora.data.captions import plain
from sweeplora.data.dataset import Dataset, keeps_text
from sweeplora.data.folder import Folder
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment, Group
from sweeplora.launch.launcher import Launcher
from sweeplora.models.base import Base
from sweeplora.models.facts import ModelFacts
from sweeplora.networks import blocks
from sweeplora.networks.algorithms import algorithm_of, check_norm_limit
from sweeplora.networks.file import fit
from sweeplora.networks.keys import selected
from sweeplora.training.previews.prompts import Prompt, check_prompts, idle, read_prompts

GROUPS = (
    *("model", "data", "network", "optimizer", "rates", "scheduler", "noise", "loss", "train", "sample"),
    *("search", "pruner", "launcher", "tracking"),
)
METRICS = (
    *("val/loss", "val/best", "val/relative", "val/band_0", "val/band_1", "val/band_2", "val/band_3"),
    *("probe/loss", "loss"),
)
"""What a study can minimise."""

_PLAIN: dict[str, Any] = {
    "name": Annotated[str, MinLen(1)],
    "seed": Annotated[int, Ge(0)],
    "runs": Annotated[str, MinLen(1)],
    "reuse": bool,
    "sweep": dict[str, Any],
}
_SWEEP: dict[str, Any] = {
    "name": Annotated[str, MinLen(1)] | None,
    "objective": Annotated[str, MinLen(1)] | Annotated[list[str], MinLen(1)],
    "trials": Annotated[int, Ge(1)] | None,
    "space": dict[str, Any],
}
_FILE_NAME = re.compile(r"[\w()+,=@-][\w()+,=@. -]*")
_LEAST_FREE = 1 << 29


def check(configuration: Configuration) -> Experiment:
    """Raise UserError for the first thing that cannot work in a configuration, or say what will be run."""
    config = frozen(configuration.config)
    check_shape(config)
    check_combinations(config)
    check_place(Path(config["runs"]))
    model = read_model(config)
    said = check_network(config["network"], model)
    prompts = read_previews(config["sample"], model)
    dataset = read_data(config, model)
    planned = plan_length(config["train"], dataset)
    identity = identify(configuration.config, model, dataset, draws=bool(prompts))
    return Experiment(
        config=configuration.config,
        yaml=configuration.yaml,
        overrides=configuration.overrides,
        signature=identity.signature,
        contents=identity.contents,
        code=identity.code,
        steps=planned.steps,
        arithmetic=_arithmetic(config["train"], planned),
        validates=bool(dataset.validation),
        notices=(*said, *_notices(config, model, dataset, prompts)),
    )


def frozen(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with each of its groups frozen, so that what is found out about a group is kept by it."""
    return {key: Group(value) if key in GROUPS and isinstance(value, dict) else value for key, value in config.items()}


def check_shape(config: Mapping[str, Any]) -> None:
    """Names, types and ranges of every value, against what each `_target_` takes."""
    config = frozen(config)
    for key, value in config.items():
        if key not in _PLAIN and key not in GROUPS:
            raise UserError(key, value, f"no such key; {nearest(key, [*GROUPS, *_PLAIN])}")
    for key, kind in _PLAIN.items():
        _check_plain(key, config[key], kind)
    for key, value in config["sweep"].items():
        if key not in _SWEEP:
            raise UserError(f"sweep.{key}", value, f"no such key; {nearest(key, list(_SWEEP))}")
        _check_plain(f"sweep.{key}", value, _SWEEP[key])
    for key, value in (("name", config["name"]), ("sweep.name", config["sweep"]["name"])):
        if value is not None and not _FILE_NAME.fullmatch(value):
            raise UserError(key, value, "it becomes a file's name; use letters, digits, - _ and dots")
    for group in GROUPS:
        if not isinstance(config[group], Group) or "_target_" not in config[group]:
            raise UserError(group, config[group], "holds no _target_; choose one of its files")
        _check_group(group, config[group])


def check_combinations(config: Mapping[str, Any]) -> None:
    """Values that are good one by one and not together."""
    optimizer, precision = config["optimizer"], config["train"]["mixed_precision"]
    check_optimizer(optimizer, config["scheduler"], config["rates"])
    check_half_precision(optimizer, config["train"]["network_precision"])
    if _device(config["launcher"]) == "cpu":
        if precision == "fp16":
            raise UserError("train.mixed_precision", "fp16", "a CPU has no half precision; use no or bf16")
        if optimizer["_target_"].startswith("bitsandbytes."):
            raise UserError("optimizer", optimizer["_target_"], "needs an NVIDIA GPU; use optimizer=adamw")
    check_norm_limit(config["network"]["_target_"], config["train"]["max_weight_norm"])
    _check_objectives(config)


def check_place(runs: Path) -> None:
    """The runs folder can be written to and has room."""
    if not exists_and_writable(runs):
        raise UserError("runs", runs, "files cannot be created there; give a folder of your own")
    while not runs.exists():
        runs = runs.absolute().parent
    free = shutil.disk_usage(runs).free
    if free < _LEAST_FREE:
        raise UserError("runs", runs, f"only {free >> 20} MiB are free there; a run needs {_LEAST_FREE >> 20}")


def read_previews(sample: Mapping[str, Any], model: ModelFacts) -> list[Prompt]:
    """The prompts of the previews, none where nothing is drawn, and that they go with sampler and model."""
    if not _draws(sample):
        return []
    prompts = read_prompts(Path(sample["prompts"]))
    from_pure_noise = bool(model.scheduler["rescale_betas_zero_snr"])
    check_prompts(prompts, sample["sampler"], sample["steps"], sample["karras"], from_pure_noise)
    return prompts


def read_model(config: Mapping[str, Any]) -> ModelFacts:
    """The facts of the model, and that training and rates fit it."""
    network, train = config["network"], config["train"]
    source: Base = _built(config["model"])
    facts = source.facts()
    fit.check_mergeable("model.base_weights", [Path(file) for file in config["model"]["base_weights"] or ()], facts)
    if train["max_timestep"] > facts.num_timesteps:
        raise UserError("train.max_timestep", train["max_timestep"], f"the model has {facts.num_timesteps}")
    blocks.check_counts(network, facts.layout)
    check_rates(config["rates"], network, facts.layout)
    check_loss(config["loss"], facts.prediction)
    return facts


def check_network(network: Mapping[str, Any], model: ModelFacts) -> list[str]:
    """The layers that train exist, suit the algorithm and take the file they start from; what is worth a look."""
    layers = selected(model, network)
    if not layers:
        raise UserError("network.preset", network["preset"], "selects no layer of this model; use full")
    algorithm_of(network["_target_"]).check_layers(network, [layer.shape for layer in layers.values()])
    return fit.check(network, model, layers)


def read_data(config: Mapping[str, Any], model: ModelFacts) -> Dataset:
    """The data set, and that training and objective fit it."""
    images: Folder = _built(config["data"])
    dataset = images.read(model.divisor, model.resolution, Path(config["runs"], "cache"))
    keeps_text(dataset, config["network"]["text_encoders"])
    masked = next((one for one in dataset.train if one.mask is not None), None)
    if masked is not None and not _takes_mask(config["loss"]):
        raise UserError("loss", config["loss"]["_target_"], f"takes no mask, and {masked.name} has one; use loss=mse")
    return dataset


def plan_length(train: Mapping[str, Any], dataset: Dataset) -> Length:
    """The optimizer steps of a training."""
    return length(dataset, train["batch_size"], train["accumulation"], train["epochs"], train["steps"])


def objectives(config: Mapping[str, Any]) -> list[str]:
    """What a study minimises, always as a list."""
    objective = config["sweep"]["objective"]
    return [objective] if isinstance(objective, str) else list(objective)


def _check_plain(key: str, value: object, kind: Any) -> None:
    if value == MISSING:
        raise UserError(key, MISSING, f"give {key}=…")
    check_value(key, value, kind)


@functools.lru_cache(maxsize=256)
def _check_group(group: str, node: Group) -> None:
    check_node(group, node)
    check_rules(group, node)


@functools.lru_cache(maxsize=256)
def _built(node: Group) -> Any:
    return get_object(node["_target_"])(**arguments(node))


@functools.lru_cache(maxsize=8)
def _device(node: Group) -> Literal["cpu", "cuda"]:
    launcher: Launcher = _built(node)
    return launcher.plan(1).slots[0].device


def _check_objectives(config: Mapping[str, Any]) -> None:
    wanted = objectives(config)
    for objective in wanted:
        if objective not in METRICS:
            raise UserError("sweep.objective", objective, f"no such metric; {nearest(objective, METRICS)}")
    if len(wanted) > 1 and config["pruner"]["_target_"] != "optuna.pruners.NopPruner":
        mend = "Optuna cannot prune on several objectives; use pruner=none or one objective"
        raise UserError("sweep.objective", json.dumps(wanted), mend)
    if "probe/loss" in wanted and config["train"]["probe_images"] == 0:
        raise UserError("train.probe_images", 0, "sweep.objective=probe/loss needs some")


def _notices(
    config: Mapping[str, Any], model: ModelFacts, dataset: Dataset, prompts: Sequence[Prompt]
) -> tuple[str, ...]:
    captions = [(one.name, plain(one.caption, one.treatment.rules)) for one in (*dataset.train, *dataset.validation)]
    numbered = list(enumerate(prompts, 1))
    texts = [(f"prompt {number}", one.prompt) for number, one in numbered]
    texts += [(f"the negative of prompt {number}", one.negative) for number, one in numbered if one.negative]
    left_over = idle(len(prompts), config["launcher"].get("processes_per_trial", 1)) if prompts else None
    said = [] if left_over is None else [left_over]
    long_captions = too_long(model, "caption", captions, dataset.weighted_captions)
    long_prompts = too_long(model, "prompt", texts, config["sample"]["weighted"])
    return (*dataset.notices, *long_captions, *long_prompts, *said)


def _draws(sample: Mapping[str, Any]) -> bool:
    """Whether any preview image is asked for."""
    return any(sample[key] for key in ("every_epochs", "every_steps", "at_first", "at_last"))


def _takes_mask(node: Mapping[str, Any]) -> bool:
    """Whether a loss, a function or an object that is called, has an argument for the mask."""
    target = node["_target_"]
    called = signature_of(target if node.get("_partial_") else f"{target}.__call__", "loss._target_")
    return called is None or called.open or "mask" in called.parameters


def _arithmetic(train: Mapping[str, Any], planned: Length) -> str:
    return (
        f"{planned.images} images an epoch in {planned.batches} batches of at most {train['batch_size']}; "
        f"{planned.batches} / {train['accumulation']} = {planned.steps_per_epoch} steps an epoch; "
        f"{planned.epochs} epochs: {planned.steps} steps"
    )

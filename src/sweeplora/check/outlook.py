"""What a checked experiment will take: steps, buckets, memory, disk, previews; counted, and nothing is started."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException

from sweeplora.check.images import note_dataset, plan_length
from sweeplora.check.model import note_model
from sweeplora.check.parts import built, slot_of
from sweeplora.check.previews import note_previews
from sweeplora.check.shape import frozen
from sweeplora.config.instantiate import build
from sweeplora.data.batches import Length
from sweeplora.data.captions import plain
from sweeplora.data.dataset import Dataset, keeps_latents, keeps_text
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Bucket, Disk, Experiment, Group, Memory, Outlook
from sweeplora.models.base import Base
from sweeplora.models.facts import ModelFacts, Part
from sweeplora.training.previews.batches import Places, drawing_of, in_batches
from sweeplora.training.previews.prompt import Prompt

if TYPE_CHECKING:
    from sweeplora.networks.measure import NetworkSize

_BYTES = {"no": 4, "fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1}
_CHUNK = 77  # tokens of a caption's chunk, start and end included
_CHUNK_TEXT = 75
_LEVELS = 3  # bytes of a pixel before PNG compresses it
_KEPT_BYTES = 512 << 20  # of encoded images, and of captions, in memory; see data.entries


def outlook(experiment: Experiment) -> Outlook:
    """What one training of an experiment takes. Raises UserError for what has changed since it was checked."""
    config, problems = frozen(experiment.config), Problems()
    found = note_model(config, problems)
    dataset = note_dataset(config, found, problems)
    prompts = note_previews(config["sample"], found, dataset, problems) or []
    problems.refuse()
    assert found is not None and dataset is not None
    model, train = found.model, config["train"]
    length = plan_length(train, dataset)
    network = _network(config["model"], config["network"])
    state = None if network is None else _optimizer(config["optimizer"], network.shape)
    caches = _caches(model, dataset, config)
    drawings = _drawings(config["sample"], length)
    each = _BYTES[train["network_precision"]]
    return Outlook(
        images=len({picture.path for picture in dataset.train}),
        uses=length.images,
        buckets=_buckets(dataset, train["batch_size"]),
        batch_size=train["batch_size"],
        accumulation=train["accumulation"],
        steps_per_epoch=length.steps_per_epoch,
        epochs=length.epochs,
        steps=length.steps,
        processes=slot_of(config["launcher"]).processes,
        parameters=None if network is None else network.parameters,
        memory=Memory(
            base=_base(model, dataset, config) + min(caches, _KEPT_BYTES),
            encoding=_encoding(model, config),
            trained=None if network is None else 2 * each * network.parameters,
            optimizer=None if network is None or state is None else round(state * network.parameters),
        ),
        disk=Disk(
            weights=None if network is None else _BYTES[train["save_precision"]] * network.in_file,
            files=_files(train, length),
            state=None if network is None or state is None else round((each + state) * network.parameters),
            previews=drawings * _pixels(prompts, config, dataset, model) * _LEVELS,
            caches=caches,
        ),
        prompts=_prompts(prompts, config, dataset, model),
        drawings=drawings if prompts else 0,
    )


@functools.lru_cache(maxsize=64)
def _network(model: Group, network: Group) -> NetworkSize | None:
    """The network's size; None for an algorithm whose adapters need more than the shapes of layers."""
    from sweeplora.networks.measure import measure

    base: Base = built(model)
    try:
        return measure(base.facts(), network, built(network))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return None


@functools.lru_cache(maxsize=64)
def _optimizer(node: Group, shape: tuple[int, ...]) -> float | None:
    """Bytes of the optimizer's state for a trained number; None for one that does not run on this machine."""
    from sweeplora.training.optim.measure import state_bytes

    try:
        return state_bytes(build(dict(node)), shape)
    except (AttributeError, HydraException, ImportError, RuntimeError, TypeError, ValueError, UserError):
        return None


def _buckets(dataset: Dataset, batch_size: int) -> tuple[Bucket, ...]:
    counts: Counter[tuple[int, int]] = Counter()
    for picture in dataset.train:
        counts[picture.bucket] += picture.repeats
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Bucket(*bucket, uses, math.ceil(uses / batch_size)) for bucket, uses in ordered)


def _numbers(part: Part) -> int:
    return sum(math.prod(stored.shape) for stored in part.tensors.values())


def _base(model: ModelFacts, dataset: Dataset, config: Mapping[str, Any]) -> int:
    """What of the frozen model stays on the device: see training.prepare.place_model."""
    node, train = config["model"], config["train"]
    each = _BYTES[train["mixed_precision"]]
    held = _BYTES[node["base_precision"] or train["mixed_precision"]] * _numbers(model.unet)
    if not keeps_latents(dataset):
        held += _BYTES[node["vae_precision"]] * _numbers(model.vae)
    if not keeps_text(dataset, config["network"]["text_encoders"]):
        held += each * sum(map(_numbers, model.text_encoders))
    return held


def _encoding(model: ModelFacts, config: Mapping[str, Any]) -> int:
    """VAE and text encoders together, the latter in float32, as they encode images and captions."""
    vae = _BYTES[config["model"]["vae_precision"]] * _numbers(model.vae)
    return vae + _BYTES["fp32"] * sum(map(_numbers, model.text_encoders))


def _caches(model: ModelFacts, dataset: Dataset, config: Mapping[str, Any]) -> int:
    """Posteriors (mean and deviation) of all images and outputs for all captions, in float32."""
    size = 0
    pictures = (*dataset.train, *dataset.validation)
    if keeps_latents(dataset):
        for picture in {picture.sha256: picture for picture in pictures}.values():
            width, height = (side // model.scale_factor for side in picture.bucket)
            size += 2 * model.latent_channels * width * height * 4 * (2 if picture.treatment.flip else 1)
    if keeps_text(dataset, config["network"]["text_encoders"]):
        captions = {plain(picture.caption, picture.treatment.rules) for picture in pictures}
        size += len(captions) * _CHUNK * (model.max_tokens // _CHUNK_TEXT) * model.unet.entry("cross_attention_dim") * 4
    return size


def _files(train: Mapping[str, Any], length: Length) -> int:
    """Weights files that stay: of epochs, of steps, and the last."""
    epochs = (length.epochs - 1) // train["save_every_epochs"] if train["save_every_epochs"] else 0
    if train["save_last_epochs"]:
        epochs = min(epochs, train["save_last_epochs"])
    steps = length.steps // train["save_every_steps"] if train["save_every_steps"] else 0
    if train["save_last_steps"]:
        steps = min(steps, train["save_last_steps"] // train["save_every_steps"] + 1)
    return epochs + steps + 1


def _drawings(sample: Mapping[str, Any], length: Length) -> int:
    """How often previews are drawn: before the first step, in between, after the last."""
    between = int(sample["at_first"]) + int(sample["at_last"])
    if sample["every_epochs"]:
        between += (length.epochs - 1) // sample["every_epochs"]
    if sample["every_steps"]:
        between += (length.steps - 1) // sample["every_steps"]
    return between


def _prompts(
    prompts: Sequence[Prompt], config: Mapping[str, Any], dataset: Dataset, model: ModelFacts
) -> tuple[int, ...]:
    """How many preview images each process draws."""
    processes = slot_of(config["launcher"]).processes
    if not prompts:
        return (0,) * processes
    places = Places(model.divisor, model.scale_factor)
    batches = in_batches(prompts, built(config["sample"]), dataset.resolution, places)
    return tuple(sum(map(len, batches[rank::processes])) for rank in range(processes))


def _pixels(prompts: Sequence[Prompt], config: Mapping[str, Any], dataset: Dataset, model: ModelFacts) -> int:
    """Pixels of all preview images of one drawing."""
    sample = built(config["sample"]) if prompts else None
    drawn = (drawing_of(prompt, sample, dataset.resolution, model.divisor) for prompt in prompts if sample is not None)
    return sum(one.width * one.height for one in drawn)

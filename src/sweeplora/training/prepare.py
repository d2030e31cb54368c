"""What a process holds for its trainings: the frozen base on its device and the encoded data; inputs made from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sweeplora.content import ContentHashes, state_of_files
from sweeplora.data.batches import Length, length
from sweeplora.data.cache import Cache
from sweeplora.data.dataset import Dataset, Picture, Watched, keeps_latents, keeps_text, manifest
from sweeplora.data.latents import Latents
from sweeplora.data.loader import Encode, Loader, stills
from sweeplora.models import eight_bits
from sweeplora.models.family import Family
from sweeplora.networks.merged_base import merge
from sweeplora.rundir.files import write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.training.distributed import DTYPES, Precision, Processes
from sweeplora.training.evaluate import TripleSet, subset_of
from sweeplora.training.groups import ConfigGroups, Images, Model
from sweeplora.training.stop import Interrupted, Stop


@dataclass(frozen=True)
class BaseSettings:
    """All that decides what a process holds; `hold` sees nothing else of a configuration.

    `model` and `data` are built from the groups `model` and `data` of `config`. `compile`: torch.compile's backend.
    `trains_encoders`: the text encoders change during the training.
    """

    model: Model
    data: Images
    config: Mapping[str, Any]
    cache: Path
    precision: Precision
    lowram: bool
    gradient_checkpointing: bool
    compile: str | None
    trains_encoders: bool

    @property
    def key(self) -> str:
        """Text that is equal for settings that hold the same base."""
        groups = {name: self.config[name] for name in ("model", "data")}
        others = {name: value for name, value in vars(self).items() if name not in ("config", "model", "data")}
        return json.dumps([groups, others], sort_keys=True, default=str)


def base_settings(groups: ConfigGroups) -> BaseSettings:
    """The part of a configuration that decides what a process holds."""
    train = groups.train
    return BaseSettings(
        model=groups.model,
        data=groups.data,
        config=groups.config,
        cache=groups.cache,
        precision=train.mixed_precision,
        lowram=train.lowram,
        gradient_checkpointing=train.gradient_checkpointing,
        compile=train.compile,
        trains_encoders=groups.algorithm.text_encoders,
    )


@dataclass(frozen=True)
class Encoded:
    """Where latents and text outputs come from.

    `vae_stays`, `encoders_stay`: images or captions are encoded at every step, not once before the first.
    """

    latents: Latents
    encode: Encode
    vae_stays: bool
    encoders_stay: bool


@dataclass(frozen=True)
class HeldBase:
    """A frozen base on its device in the run's precision, the data set, and its encoded images and captions.

    `images`: the state of the files of the data set before they were read, None if its target cannot tell it;
    `files`: that of the model's files.
    """

    family: Family
    dataset: Dataset
    encoded: Encoded
    images: str | None
    files: str

    def is_current(self, data: Images) -> bool:
        """Whether the files of model and data set are as they were, so that both would be read the same again."""
        unchanged = self.images is not None and self.images == state_of_images(data)
        return unchanged and self.files == state_of_files(self.family.facts.files)


@dataclass(frozen=True)
class Inputs:
    """The training data, and the triples to score: held-out images and a probe of training images."""

    dataset: Dataset
    length: Length
    loader: Loader
    validation: TripleSet
    probe: TripleSet


def hold(settings: BaseSettings, processes: Processes) -> HeldBase:
    """Load the base, read the images, encode what is not cached, and keep on the device what every step needs."""
    family = load_model(settings, processes)
    images, files = state_of_images(settings.data), state_of_files(family.facts.files)
    dataset = settings.data.read(family.divisor, family.resolution, settings.cache)
    encoded = encode_data(settings, dataset, family, processes)
    place_model(settings, family, processes, encoded)
    if settings.gradient_checkpointing:
        family.checkpoint_gradients(encoders=settings.trains_encoders)
    if settings.compile is not None:
        family.unet.compile(backend=settings.compile)
    return HeldBase(family, dataset, encoded, images, files)


def state_of_images(data: Images) -> str | None:
    """The state of a data set's files, None if its target cannot tell it."""
    return data.state() if isinstance(data, Watched) else None


def prepare(run: RunDir, groups: ConfigGroups, base: HeldBase, processes: Processes) -> Inputs:
    """One training's inputs from the held data; records the data set's files in the run folder."""
    settings, dataset = groups.train, base.dataset
    if processes.is_main:
        write_json(run.path / "dataset.json", {"name": dataset.name, "files": manifest(dataset)})

    def triples(pictures: Sequence[Picture]) -> TripleSet:
        examples = stills(pictures, base.encoded.latents)
        return TripleSet(examples, settings.validation_timesteps, dataset.validation_seed, base.encoded.encode)

    seed = dataset.validation_seed
    trained = [picture for picture in dataset.train if not picture.treatment.is_reg]
    return Inputs(
        dataset=dataset,
        length=length(dataset, settings.batch_size, settings.accumulation, settings.epochs, settings.steps),
        loader=Loader(dataset, base.encoded.latents, base.encoded.encode, groups.seed),
        validation=triples(subset_of(dataset.validation, settings.validation_images, seed, "validation")),
        probe=triples(subset_of(trained, settings.probe_images, seed, "probe")),
    )


def load_model(settings: BaseSettings, processes: Processes) -> Family:
    """The frozen base; each network is read when it is first used, onto the device, in the precision it is used in.

    Files of `model.base_weights` are merged into float32 weights in host memory, or on the device with lowram.
    """
    if not settings.model.merged:
        return settings.model.load(processes.device, processes.dtype)
    family = settings.model.load(processes.device if settings.lowram else torch.device("cpu"))
    files, multipliers = zip(*settings.model.merged, strict=True)
    merge(family, files, multipliers)
    return family


def encode_data(settings: BaseSettings, dataset: Dataset, family: Family, processes: Processes) -> Encoded:
    """Fill the cache with the latents and text outputs that never change; the others are encoded at every step."""
    hashes = ContentHashes(settings.cache / "hashes.json")
    cache = Cache(settings.cache, _progress(processes.stop))
    family.place("vae", processes.device, DTYPES[settings.model.vae_precision])
    family.place("text_encoders", processes.device, torch.float32)
    keeps_pictures = keeps_latents(dataset)
    pictures = cache.latents if keeps_pictures else cache.online
    latents = pictures(dataset, family, _vae_hash(family, hashes))
    encode: Encode = partial(family.encode_text, weighted=dataset.weighted_captions)
    keeps_captions = keeps_text(dataset, settings.trains_encoders)
    if keeps_captions:
        texts = cache.texts(dataset, family, _text_hash(settings, family, hashes), processes.device)
        encode = texts.encode
    if processes.is_main:
        hashes.save()
    return Encoded(latents, encode, vae_stays=not keeps_pictures, encoders_stay=not keeps_captions)


def _vae_hash(family: Family, hashes: ContentHashes) -> str:
    """Hash of what latents depend on besides the image. It includes the scale, which a separate VAE file lacks."""
    vae = family.facts.vae
    return f"{hashes.all(family.vae_paths)}-{vae.entry('scaling_factor')}-{vae.config.get('shift_factor')}"


def _text_hash(settings: BaseSettings, family: Family, hashes: ContentHashes) -> str:
    """Hash of what a caption's encoding depends on besides the caption."""
    model = settings.config["model"]
    chosen = {key: model[key] for key in ("clip_skip", "base_weights_multiplier") if key in model}
    merged = hashes.all(Path(file) for file in model["base_weights"] or ())
    return f"{hashes.all(family.text_paths)}-{merged}-{json.dumps(chosen)}"


def place_model(settings: BaseSettings, family: Family, processes: Processes, encoded: Encoded) -> None:
    """Keep on the device what every step needs, in the run's precision; the rest leaves it.

    Text encoders that previews alone use leave memory too, unless files were merged into them.
    """
    host, device = torch.device("cpu"), processes.device
    family.place("vae", device if encoded.vae_stays else host, family.precision("vae"))
    family.place("text_encoders", device if encoded.encoders_stay else host, processes.dtype)
    if not (encoded.encoders_stay or settings.model.merged):
        family.release("text_encoders")
    is_narrow = settings.model.base_precision == "fp8"
    # The device only ever holds the 8 bits, unless it is to hold everything.
    family.place("unet", host if is_narrow and not settings.lowram else device, processes.dtype)
    unet = family.unet
    if is_narrow:
        eight_bits.store(unet)
        family.place("unet", device, processes.dtype)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _progress(stop: Stop) -> Callable[[str, int, int], None]:
    def tell(what: str, done: int, missing: int) -> None:
        if stop.requested:
            raise Interrupted(f"asked to stop while encoding {what}")
        if done == missing:
            print(f"encoded {missing} {what}", flush=True)

    return tell

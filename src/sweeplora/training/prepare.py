"""What a training stands on: the frozen base on its device, and data that its encoders have gone over."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sweeplora.config.instantiate import build
from sweeplora.content import ContentHashes
from sweeplora.data.batches import Length, length
from sweeplora.data.cache import Cache
from sweeplora.data.dataset import Dataset, Picture, keeps_latents, keeps_text, manifest
from sweeplora.data.latents import Latents
from sweeplora.data.loader import Encode, Loader, stills
from sweeplora.models import eight_bits
from sweeplora.models.family import Family
from sweeplora.networks.merged_base import merge
from sweeplora.rundir.files import write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.training.distributed import DTYPES, Processes
from sweeplora.training.evaluate import Triples, few
from sweeplora.training.loop import Interrupted
from sweeplora.training.settings import Train
from sweeplora.training.stop import Stop


@dataclass(frozen=True)
class Materials:
    """What is trained on: the images' latents and captions, and the triples that are scored."""

    dataset: Dataset
    length: Length
    loader: Loader
    validation: Triples
    probe: Triples


@dataclass(frozen=True)
class Encoded:
    """Where latents and text outputs come from, and whether their encoders are needed at every step."""

    latents: Latents
    encode: Encode
    vae_stays: bool
    encoders_stay: bool


def load_model(config: dict[str, Any], processes: Processes) -> Family:
    """The frozen base with `model.base_weights` merged in: in float32 in host memory, or with lowram on the device.

    With lowram the U-Net is in the run's own precision: the device would not hold a wider one.
    """
    base: Any = build(config["model"])
    if config["train"]["lowram"]:
        family: Family = base.load(processes.device, processes.dtype)
    else:
        family = base.load(torch.device("cpu"))
    if base.merged:
        files, multipliers = zip(*base.merged, strict=True)
        merge(family, files, multipliers)
    nn.Module.to(family.vae, DTYPES[config["model"]["vae_precision"]])  # diffusers' own warns of nothing
    return family


def prepare(run: RunDir, config: dict[str, Any], family: Family, processes: Processes) -> Materials:
    """Read the images, and encode them and their captions where that was not done before."""
    settings: Train = build(config["train"])
    root = Path(config["runs"]) / "cache"
    dataset: Dataset = build(config["data"]).read(family.divisor, family.resolution, root)
    if processes.is_main:
        write_json(run.path / "dataset.json", {"name": dataset.name, "files": manifest(dataset)})
    encoded = encode_data(config, dataset, family, processes)
    settle(config, family, processes, encoded)

    def triples(pictures: Sequence[Picture]) -> Triples:
        examples = stills(pictures, encoded.latents)
        return Triples(examples, settings.validation_timesteps, dataset.validation_seed, encoded.encode)

    seed = dataset.validation_seed
    trained = [picture for picture in dataset.train if not picture.treatment.is_reg]
    return Materials(
        dataset=dataset,
        length=length(dataset, settings.batch_size, settings.accumulation, settings.epochs, settings.steps),
        loader=Loader(dataset, encoded.latents, encoded.encode, config["seed"]),
        validation=triples(few(dataset.validation, settings.validation_images, seed, "validation")),
        probe=triples(few(trained, settings.probe_images, seed, "probe")),
    )


def encode_data(config: dict[str, Any], dataset: Dataset, family: Family, processes: Processes) -> Encoded:
    """Latents and text outputs from the cache, made where they are missing, or encoders that work at every step."""
    root = Path(config["runs"]) / "cache"
    hashes = ContentHashes(root / "hashes.json")
    cache = Cache(root, _progress(processes.stop))
    for part in (family.vae, *family.text_encoders):
        part.to(processes.device)
    keeps_pictures = keeps_latents(dataset)
    pictures = cache.latents if keeps_pictures else cache.online
    latents = pictures(dataset, family, _vae_hash(family, hashes))
    encode: Encode = partial(family.encode_text, weighted=dataset.weighted_captions)
    keeps_captions = keeps_text(dataset, config["network"]["text_encoders"])
    if keeps_captions:
        texts = cache.texts(dataset, family, _text_hash(config, family, hashes), processes.device)
        encode = texts.encode
    if processes.is_main:
        hashes.save()
    return Encoded(latents, encode, vae_stays=not keeps_pictures, encoders_stay=not keeps_captions)


def _vae_hash(family: Family, hashes: ContentHashes) -> str:
    """Stands for all that an image's latents depend on besides the image; a VAE's lone file says no scale."""
    vae = family.facts.vae
    return f"{hashes.all(family.vae_paths)}-{vae.entry('scaling_factor')}-{vae.config.get('shift_factor')}"


def _text_hash(config: dict[str, Any], family: Family, hashes: ContentHashes) -> str:
    """Stands for all that a caption's encoding depends on besides the caption."""
    model = config["model"]
    chosen = {key: model[key] for key in ("clip_skip", "base_weights_multiplier") if key in model}
    merged = hashes.all(Path(file) for file in model["base_weights"] or ())
    return f"{hashes.all(family.text_paths)}-{merged}-{json.dumps(chosen)}"


def settle(config: dict[str, Any], family: Family, processes: Processes, encoded: Encoded) -> None:
    """Leave on the device, in the run's precision, what every step needs; the rest waits on the CPU."""
    family.vae.to(processes.device if encoded.vae_stays else "cpu")
    for encoder in family.text_encoders:
        encoder.to(processes.device if encoded.encoders_stay else "cpu", processes.dtype)
    nn.Module.to(family.unet, processes.dtype)
    if config["model"]["base_precision"] == "fp8":
        eight_bits.store(family.unet)  # before it is moved: the device never holds more than the 8 bits
    family.unet.to(processes.device)
    if processes.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(processes.device)


def _progress(stop: Stop) -> Callable[[str, int, int], None]:
    def tell(what: str, done: int, missing: int) -> None:
        if stop.asked:
            raise Interrupted(f"asked to stop while encoding {what}")
        if done == missing:
            print(f"encoded {missing} {what}", flush=True)

    return tell

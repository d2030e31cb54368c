"""The metadata of a weights file, as web UIs and sd-scripts' tools read it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from sweeplora.content import ContentHashes
from sweeplora.data.batches import Length
from sweeplora.data.buckets import Size, default_bounds
from sweeplora.data.dataset import Picture
from sweeplora.models.family import Family
from sweeplora.models.layout import diffusers_names
from sweeplora.networks.algorithms import algorithm_of
from sweeplora.rundir.naming import Naming

_OWN_ENTRIES = ("dim", "alpha", "dropout")
_NO_ARGUMENTS = ("unet", "text_encoders", "weights", "dim_from_weights", "dora")
_USUAL_TOKENS = 75
_SHORT_HASH = slice(0x100000, 0x110000)
_COUNTED_FOLDER = re.compile(r"\d+_(.+)")


@dataclass(frozen=True)
class Trained:
    """The training that produces a weights file.

    `config`: the whole resolved configuration. `length`: the planned length. `processes`: how many share each batch.
    `hashes`: the result of `model_hashes`.
    """

    config: Mapping[str, Any]
    family: Family
    naming: Naming
    length: Length
    pictures: Sequence[Picture] = ()
    processes: int = 1
    hashes: Mapping[str, str] = field(default_factory=dict)


def metadata(trained: Trained, epoch: int, step: int) -> dict[str, str]:
    """The metadata that A1111 / Forge, ComfyUI and kohya's tools read from a file, all as text.

    `epoch` and `step`: the progress when the file is written. `ss_*` as sd-scripts writes them, `modelspec.*`
    following Stability AI's ModelSpec 1.0.0. Everything follows from what the signature covers: no dates, no paths or
    names of files, no unsigned key. So one signature gives the same bytes in every study.
    """
    config, family = trained.config, trained.family
    title = f"{trained.naming.title}-{epoch:06d}"
    described = {
        "output_name": title,
        "epoch": epoch,
        "steps": step,
        **_network(config["network"]),
        **_training(trained),
        **_rates(config),
        **_noise_and_loss(config["noise"], config["loss"]),
        **_treatment(config["data"]),
        **_bounds(config["data"], family),
        **_model(config, family),
        **trained.hashes,
    }
    described |= _dataset(trained) if trained.pictures else {}
    texts = {f"ss_{key}": _text(value) for key, value in described.items()}
    signature = {} if trained.naming.signature is None else {"sweeplora.signature": trained.naming.signature}
    return {**texts, **_modelspec(config, family, title), **signature}


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def model_hashes(family: Family, hashes: ContentHashes) -> dict[str, str]:
    """The hashes by which web UIs identify the base model and its VAE.

    For a single file they are A1111's: the new hash is its sha256, the old one eight digits over a window of it. A
    diffusers folder has no such hashes in A1111; its content hash serves as both.
    """
    model, vae = family.facts.path, family.facts.vae.path
    files = {"sd_model": (model, family.facts.files), "vae": (vae, family.vae_paths)}
    found = {}
    for name, (path, parts) in files.items():
        whole = hashes.file(path) if path.is_file() else hashes.all(parts)
        found[f"{name}_hash"] = _window_hash(path) if path.is_file() else whole[:8]
        found[f"new_{name}_hash"] = whole
    return found


def _window_hash(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(_SHORT_HASH.start)
        return hashlib.sha256(stream.read(_SHORT_HASH.stop - _SHORT_HASH.start)).hexdigest()[:8]


def _network(network: Mapping[str, Any]) -> dict[str, Any]:
    """The algorithm by LyCORIS' names, with the rank in its file; an option that it lacks is None."""
    algorithm = algorithm_of(network["_target_"])
    arguments = {
        key: _argument(value)
        for key, value in network.items()
        if not key.startswith("_") and key not in (*_OWN_ENTRIES, *_NO_ARGUMENTS) and value is not None
    }
    if "dora" in network:
        arguments["dora_wd"] = str(network["dora"])
    own = {key: network.get(key) for key in _OWN_ENTRIES}
    for key in ("dim", "alpha"):
        if key in network:
            own[key] = network[key] * algorithm.RANK_IN_FILE
    return {
        "network_module": "lycoris.kohya",
        **{f"network_{key}": value for key, value in own.items()},
        "network_args": {"algo": algorithm.LYCORIS_NAME or algorithm.__name__.lower(), **arguments},
    }


def _argument(value: object) -> str:
    return ",".join(str(number) for number in value) if isinstance(value, list) else str(value)


def _training(trained: Trained) -> dict[str, Any]:
    config, train = trained.config, trained.config["train"]
    return {
        "num_epochs": trained.length.epochs,
        "max_train_steps": trained.length.steps,
        "num_batches_per_epoch": trained.length.batches,
        "batch_size_per_device": math.ceil(train["batch_size"] / trained.processes),
        "seed": config["seed"],
        "total_batch_size": train["batch_size"],
        "gradient_accumulation_steps": train["accumulation"],
        "gradient_checkpointing": train["gradient_checkpointing"],
        "mixed_precision": train["mixed_precision"],
        "full_fp16": train["network_precision"] == "fp16",
        "max_grad_norm": train["max_grad_norm"],
        "scale_weight_norms": train["max_weight_norm"] or None,
    }


def _rates(config: Mapping[str, Any]) -> dict[str, Any]:
    """Learning rates, with the optimizer and the schedule that use them; a user's own may have no rate."""
    optimizer, scheduler, rates, network = (config[key] for key in ("optimizer", "scheduler", "rates", "network"))
    general = optimizer.get("lr")
    unet, encoders = (general if rates[key] is None else rates[key] for key in ("unet", "text_encoder"))
    return {
        "learning_rate": general,
        "unet_lr": unet if network["unet"] else None,
        "text_encoder_lr": encoders if network["text_encoders"] else None,
        "optimizer": _optimizer(optimizer),
        "lr_scheduler": scheduler.get("path") or scheduler["_target_"].rpartition(".")[2],
        "lr_warmup_steps": scheduler.get("warmup"),
    }


def _optimizer(node: Mapping[str, Any]) -> str:
    """The class with its module and its arguments except the rate, as sd-scripts writes them."""
    found = get_object(node["_target_"])
    given = ",".join(f"{key}={value}" for key, value in node.items() if key != "lr" and not key.startswith("_"))
    return f"{found.__module__}.{found.__qualname__}" + (f"({given})" if given else "")


def _noise_and_loss(noise: Mapping[str, Any], loss: Mapping[str, Any]) -> dict[str, Any]:
    """The options that sd-scripts has keys for; a user's own noise or loss has none of them."""
    return {
        "noise_offset": noise.get("offset") or None,
        "noise_offset_random_strength": noise.get("offset_random_strength"),
        "adaptive_noise_scale": noise.get("adaptive_scale") or None,
        "multires_noise_iterations": noise.get("multires_iterations") or None,
        "multires_noise_discount": noise.get("multires_discount"),
        "ip_noise_gamma": noise.get("input_gamma") or None,
        "ip_noise_gamma_random_strength": noise.get("input_gamma_random_strength"),
        "min_snr_gamma": loss.get("min_snr_gamma"),
        "debiased_estimation": loss.get("debiased"),
        "loss_type": loss.get("kind"),
        "huber_c": loss.get("huber_c"),
        "huber_scale": loss.get("huber_scale"),
        "huber_schedule": loss.get("huber_schedule"),
    }


def _treatment(data: Mapping[str, Any]) -> dict[str, Any]:
    """How images and captions are processed; a user's own data set may have other options."""
    return {
        "prior_loss_weight": data.get("prior_loss_weight"),
        "shuffle_caption": data.get("shuffle_caption"),
        "keep_tokens": data.get("keep_tokens"),
        "caption_dropout_rate": data.get("caption_dropout"),
        "caption_dropout_every_n_epochs": data.get("caption_dropout_every_epochs"),
        "caption_tag_dropout_rate": data.get("tag_dropout"),
        "enable_bucket": data.get("bucket"),
        "bucket_no_upscale": data.get("bucket_no_upscale"),
        "flip_aug": data.get("flip"),
        "color_aug": data.get("color"),
        "random_crop": data.get("random_crop"),
    }


def _bounds(data: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """The resolved shortest and longest bucket side; None without buckets."""
    if not data.get("bucket") or data.get("bucket_no_upscale"):
        return {"min_bucket_reso": None, "max_bucket_reso": None}
    size, step = _size(data, family), data.get("bucket_step") or family.divisor
    shortest, longest = default_bounds(size, step)
    return {
        "min_bucket_reso": data.get("bucket_min") or shortest,
        "max_bucket_reso": data.get("bucket_max") or longest,
    }


def _model(config: Mapping[str, Any], family: Family) -> dict[str, Any]:
    model = config["model"]
    return {
        "base_model_version": family.facts.layout.base_model_version,
        "v2": False,
        "sd_model_name": model["name"],
        "zero_terminal_snr": bool(family.scheduler_config["rescale_betas_zero_snr"]),
        "resolution": _size(config["data"], family),
        "max_token_length": None if model["max_tokens"] == _USUAL_TOKENS else model["max_tokens"],
        "clip_skip": model.get("clip_skip"),
        "fp8_base": model["base_precision"] == "fp8",
    }


def _size(data: Mapping[str, Any], family: Family) -> tuple[int, int]:
    """Width and height that the data set is resized to, unless a subset sets its own."""
    asked = data.get("resolution") or family.resolution
    width, height = (asked, asked) if isinstance(asked, int) else asked
    return width, height


def _dataset(trained: Trained) -> dict[str, Any]:
    """Images and tags by folder, the folder that is seen most often first.

    Files next to the `N_name` folders are counted under the data set's name.
    """
    data, pictures = trained.config["data"], trained.pictures
    seen, regular = (_by_folder(data, pictures, is_reg) for is_reg in (False, True))
    tags = {folder: _tags(members) for folder, members in seen.items()}
    counted = {
        "num_train_images": _appearances(pictures, False),
        "num_reg_images": _appearances(pictures, True),
        "tag_frequency": tags,
        "bucket_info": _bucket_info(pictures),
    }
    subsets = [_subset(data, folder, members) for folders in (seen, regular) for folder, members in folders.items()]
    described = {**counted, **_treatment(data), **_bounds(data, trained.family)}
    resolution = list(_size(data, trained.family))
    whole = {**described, "is_dreambooth": True, "resolution": resolution, "subsets": subsets}
    return {
        **counted,
        "dataset_dirs": {folder: _counts(members) for folder, members in seen.items()},
        "reg_dataset_dirs": {folder: _counts(members) for folder, members in regular.items()},
        "datasets": [whole],
    }


def _subset(data: Mapping[str, Any], folder: str, pictures: Sequence[Picture]) -> dict[str, Any]:
    """One folder of images as sd-scripts describes a subset; `N_name` folders include their class name."""
    named, treatment = _COUNTED_FOLDER.fullmatch(folder), pictures[0].treatment
    rules = treatment.rules
    return {
        "image_dir": folder,
        "img_count": len(pictures),
        "num_repeats": pictures[0].repeats,
        "class_tokens": data.get("class_tokens") or (named and named[1]),
        "is_reg": treatment.is_reg,
        "flip_aug": treatment.flip,
        "color_aug": treatment.color,
        "random_crop": treatment.random_crop,
        "shuffle_caption": rules.shuffle,
        "keep_tokens": rules.keep_tokens,
    }


def _bucket_info(pictures: Sequence[Picture]) -> dict[str, Any]:
    """How often each bucket size is used, and the mean aspect ratio error of its images."""
    counts: Counter[Size] = Counter()
    for picture in pictures:
        counts[picture.bucket] += picture.repeats
    errors = [abs(one.width / one.height - one.bucket.width / one.bucket.height) for one in pictures]
    buckets = {
        str(number): {"resolution": list(size), "count": count}
        for number, (size, count) in enumerate(sorted(counts.items()))
    }
    return {"buckets": buckets, "mean_img_ar_error": sum(errors) / len(errors)}


def _appearances(pictures: Sequence[Picture], is_reg: bool) -> int:
    return sum(picture.repeats for picture in pictures if picture.treatment.is_reg == is_reg)


def _by_folder(data: Mapping[str, Any], pictures: Sequence[Picture], is_reg: bool) -> dict[str, list[Picture]]:
    folders: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.treatment.is_reg == is_reg:
            folder, _, file = picture.name.partition("/")
            folders.setdefault(folder if file else data.get("name", "data"), []).append(picture)
    return dict(sorted(folders.items(), key=lambda item: -_appearances(item[1], is_reg)))


def _counts(pictures: Sequence[Picture]) -> dict[str, int]:
    return {"n_repeats": pictures[0].repeats, "img_count": len(pictures)}


def _tags(pictures: Iterable[Picture]) -> dict[str, int]:
    tags = (tag.strip() for one in pictures for tag in one.caption.split(one.treatment.rules.separator))
    return dict(Counter(tag for tag in tags if tag))


def _modelspec(config: Mapping[str, Any], family: Family, title: str) -> dict[str, str]:
    """`implementation`: the one whose layer names the keys use."""
    width, height = _size(config["data"], family)
    layout = family.facts.layout
    named_by_diffusers = layout.unet_names is diffusers_names
    sgm = "https://github.com/Stability-AI/generative-models"
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{layout.architecture}/lora",
        "modelspec.implementation": "diffusers" if named_by_diffusers else sgm,
        "modelspec.title": title,
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": "v" if family.prediction == "v_prediction" else "epsilon",
    }

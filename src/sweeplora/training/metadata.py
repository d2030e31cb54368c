"""The metadata of a weights file, as web UIs and sd-scripts' tools read it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sweeplora.models.family import Family
from sweeplora.models.layout import diffusers_names
from sweeplora.networks.algorithms import algorithm_of

_OWN_ENTRIES = ("dim", "alpha", "dropout")


_NO_ARGUMENTS = ("unet", "text_encoders", "weights", "dim_from_weights", "dora")


_USUAL_TOKENS = 75


class Rules(Protocol):
    """What is asked of a caption's rules here."""

    @property
    def separator(self) -> str: ...


class Treated(Protocol):
    """What is asked of an image's treatment here."""

    @property
    def rules(self) -> Rules: ...
    @property
    def is_reg(self) -> bool: ...


class Captioned(Protocol):
    """An image as the metadata counts it: its name below the data folder, its caption and how often it counts."""

    @property
    def name(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def repeats(self) -> int: ...
    @property
    def treatment(self) -> Treated: ...


def metadata(
    config: Mapping[str, Any], family: Family, epoch: int, step: int, pictures: Sequence[Captioned] = ()
) -> dict[str, str]:
    """What A1111 / Forge, ComfyUI and kohya's tools read of a file, all of it text.

    `config` is the whole resolved configuration, `epoch` and `step` what was trained when the file is written,
    `pictures` the training images. `ss_*` as sd-scripts writes them, `modelspec.*` by Stability AI's ModelSpec
    1.0.0; no dates, so that the same experiment gives the same bytes.
    """
    described = {
        **_network(config["network"]),
        **_training(config, epoch, step),
        **_rates(config),
        **_noise_and_loss(config["noise"], config["loss"]),
        **_treatment(config["data"]),
        **_model(config, family),
    }
    described |= _dataset(config["data"], pictures) if pictures else {}
    texts = {
        f"ss_{key}": json.dumps(value) if isinstance(value, dict) else str(value) for key, value in described.items()
    }
    return {**texts, **_modelspec(config, family)}


def _network(network: Mapping[str, Any]) -> dict[str, Any]:
    """The algorithm by LyCORIS' names; an option that the algorithm does not have is None."""
    algorithm = algorithm_of(network["_target_"])
    arguments = {
        key: _argument(value)
        for key, value in network.items()
        if not key.startswith("_") and key not in (*_OWN_ENTRIES, *_NO_ARGUMENTS) and value is not None
    }
    if "dora" in network:
        arguments["dora_wd"] = str(network["dora"])
    return {
        "network_module": "lycoris.kohya",
        **{f"network_{key}": network.get(key) for key in _OWN_ENTRIES},
        "network_args": {"algo": algorithm.LYCORIS_NAME or algorithm.__name__.lower(), **arguments},
    }


def _argument(value: object) -> str:
    return ",".join(str(number) for number in value) if isinstance(value, list) else str(value)


def _training(config: Mapping[str, Any], epoch: int, step: int) -> dict[str, Any]:
    train = config["train"]
    return {
        "output_name": config["name"],
        "epoch": epoch,
        "steps": step,
        "num_epochs": train["epochs"],
        "max_train_steps": train["steps"],
        "seed": config["seed"],
        "total_batch_size": train["batch_size"],
        "gradient_accumulation_steps": train["accumulation"],
        "gradient_checkpointing": train["gradient_checkpointing"],
        "mixed_precision": train["mixed_precision"],
        "full_fp16": train["network_precision"] == "fp16",
        "max_grad_norm": train["max_grad_norm"],
        "scale_weight_norms": train["max_weight_norm"] or None,
        "lowram": train["lowram"],
    }


def _rates(config: Mapping[str, Any]) -> dict[str, Any]:
    """Learning rates, and whose optimizer and schedule they go through; a user's own may have none."""
    optimizer, scheduler, rates, network = (config[key] for key in ("optimizer", "scheduler", "rates", "network"))
    general = optimizer.get("lr")
    unet, encoders = (general if rates[key] is None else rates[key] for key in ("unet", "text_encoder"))
    return {
        "learning_rate": general,
        "unet_lr": unet if network["unet"] else None,
        "text_encoder_lr": encoders if network["text_encoders"] else None,
        "optimizer": optimizer["_target_"],
        "lr_scheduler": scheduler.get("path") or scheduler["_target_"].rpartition(".")[2],
        "lr_warmup_steps": scheduler.get("warmup"),
    }


def _noise_and_loss(noise: Mapping[str, Any], loss: Mapping[str, Any]) -> dict[str, Any]:
    """What sd-scripts has words for; a user's own noise or loss has none of it."""
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
    """How images and captions are treated; a user's own data set may have other options."""
    return {
        "prior_loss_weight": data.get("prior_loss_weight"),
        "shuffle_caption": data.get("shuffle_caption"),
        "keep_tokens": data.get("keep_tokens"),
        "caption_dropout_rate": data.get("caption_dropout"),
        "caption_dropout_every_n_epochs": data.get("caption_dropout_every_epochs"),
        "caption_tag_dropout_rate": data.get("tag_dropout"),
        "enable_bucket": data.get("bucket"),
        "bucket_no_upscale": data.get("bucket_no_upscale"),
        "min_bucket_reso": data.get("bucket_min"),
        "max_bucket_reso": data.get("bucket_max"),
        "flip_aug": data.get("flip"),
        "color_aug": data.get("color"),
        "random_crop": data.get("random_crop"),
    }


def _model(config: Mapping[str, Any], family: Family) -> dict[str, Any]:
    model = config["model"]
    return {
        "base_model_version": family.facts.layout.base_model_version,
        "v2": False,
        "sd_model_name": Path(model["path"]).name,
        "vae_name": Path(model["vae"]).name if model["vae"] else None,
        "zero_terminal_snr": bool(family.scheduler_config["rescale_betas_zero_snr"]),
        "resolution": _size(config, family),
        "max_token_length": None if model["max_tokens"] == _USUAL_TOKENS else model["max_tokens"],
        "clip_skip": model.get("clip_skip"),
        "fp8_base": model["base_precision"] == "fp8",
    }


def _size(config: Mapping[str, Any], family: Family) -> tuple[int, int]:
    """Width and height that the data set is brought to, unless a subset says another."""
    asked = config["data"].get("resolution") or family.resolution
    width, height = (asked, asked) if isinstance(asked, int) else asked
    return width, height


def _dataset(data: Mapping[str, Any], pictures: Sequence[Captioned]) -> dict[str, Any]:
    """Images and tags by the folder that they come from; files beside the `N_name` folders count for the set."""
    trained, regular = (_by_folder(data, pictures, is_reg) for is_reg in (False, True))
    return {
        "num_train_images": sum(picture.repeats for members in trained.values() for picture in members),
        "num_reg_images": sum(picture.repeats for members in regular.values() for picture in members),
        "dataset_dirs": {folder: _counts(members) for folder, members in trained.items()},
        "reg_dataset_dirs": {folder: _counts(members) for folder, members in regular.items()},
        "tag_frequency": {folder: _tags(members) for folder, members in trained.items()},
    }


def _by_folder(data: Mapping[str, Any], pictures: Sequence[Captioned], is_reg: bool) -> dict[str, list[Captioned]]:
    folders: dict[str, list[Captioned]] = {}
    for picture in pictures:
        if picture.treatment.is_reg == is_reg:
            folder, _, file = picture.name.partition("/")
            folders.setdefault(folder if file else data.get("name", "data"), []).append(picture)
    return folders


def _counts(pictures: Sequence[Captioned]) -> dict[str, int]:
    return {"n_repeats": pictures[0].repeats, "img_count": len(pictures)}


def _tags(pictures: Iterable[Captioned]) -> dict[str, int]:
    tags = (tag.strip() for one in pictures for tag in one.caption.split(one.treatment.rules.separator))
    return dict(Counter(tag for tag in tags if tag))


def _modelspec(config: Mapping[str, Any], family: Family) -> dict[str, str]:
    """`implementation`: the one whose layer names the keys carry."""
    width, height = _size(config, family)
    layout = family.facts.layout
    named_by_diffusers = layout.unet_names is diffusers_names
    sgm = "https://github.com/Stability-AI/generative-models"
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{layout.architecture}/lora",
        "modelspec.implementation": "diffusers" if named_by_diffusers else sgm,
        "modelspec.title": config["name"],
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": "v" if family.prediction == "v_prediction" else "epsilon",
    }

"""A network's file: safetensors with the metadata that web UIs read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save as serialize
from torch import Tensor

from sweeplora.models.family import Family
from sweeplora.rundir import write_whole

_LEGACY_WINDOW = slice(0x100000, 0x110000)
_ARGUMENTS = (
    "conv_dim",
    "conv_alpha",
    "preset",
    "factor",
    "decompose_both",
    "full_matrix",
    "rank_dropout",
    "module_dropout",
    "use_tucker",
    "use_scalar",
    "rs_lora",
)


class Captioned(Protocol):
    """An image as the metadata counts it: its name below the data folder, its caption and how often it counts."""

    @property
    def name(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def repeats(self) -> int: ...


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype) -> None:
    """Write `Network.state_dict()` in a precision, whole or not at all.

    alpha stays in float32: it is no weight, and a LoKr's rank may be above what half precision holds. The
    hashes that web UIs look files up by (`sshs_*`) are added to the metadata.
    """
    assert any(name.endswith(".alpha") for name in tensors), "these are not the tensors of a file"
    stored = {
        name: value.detach().to("cpu", torch.float32 if name.endswith(".alpha") else dtype).contiguous()
        for name, value in tensors.items()
    }
    write_whole(path, _serialize(stored, {**metadata, **_hashes(stored, metadata)}))


def _serialize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file whose bytes follow from its content: the library orders metadata by chance."""
    data = serialize(dict(tensors), dict(metadata))
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    ordered = {**header, "__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def _hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """sha256 of the tensors' bytes, and eight digits of a window into the file as it is with `ss_` metadata alone.

    Defined by sd-webui-additional-networks; kohya's trainers store them in advance as here.
    """
    data = _serialize(tensors, {key: value for key, value in metadata.items() if key.startswith("ss_")})
    start = 8 + int.from_bytes(data[:8], "little")
    return {
        "sshs_model_hash": hashlib.sha256(memoryview(data)[start:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(data[_LEGACY_WINDOW]).hexdigest()[:8],
    }


def metadata(
    config: Mapping[str, Any], family: Family, epoch: int, step: int, pictures: Sequence[Captioned] = ()
) -> dict[str, str]:
    """What A1111 / Forge, ComfyUI and kohya's tools read of a file, all of it text.

    `config` is the whole resolved configuration, `epoch` and `step` what was trained when the file is written,
    `pictures` the training images. `ss_*` as sd-scripts writes them, `modelspec.*` by Stability AI's ModelSpec
    1.0.0; no dates, so that the same experiment gives the same bytes.
    """
    described = {**_network(config), **_training(config, epoch, step), **_model(config, family)}
    described |= _dataset(config, pictures) if pictures else {}
    texts = {
        f"ss_{key}": json.dumps(value) if isinstance(value, dict) else str(value) for key, value in described.items()
    }
    return {**texts, **_modelspec(config, family)}


def _network(config: Mapping[str, Any]) -> dict[str, Any]:
    network = config["network"]
    arguments = {key: str(network[key]) for key in _ARGUMENTS if network.get(key) is not None}
    algorithm = network["_target_"].rpartition(".")[2].lower()
    decomposed = {"dora_wd": "True", "wd_on_output": "False"} if network["dora"] else {}
    return {
        "network_module": "lycoris.kohya",
        "network_dim": network["dim"],
        "network_alpha": network["alpha"],
        "network_dropout": network.get("dropout"),
        "network_args": {"algo": algorithm, **arguments, **decomposed},
    }


def _training(config: Mapping[str, Any], epoch: int, step: int) -> dict[str, Any]:
    train, data, noise = config["train"], config["data"], config["noise"]
    optimizer, scheduler = config["optimizer"], config["scheduler"]
    return {
        "output_name": config["name"],
        "epoch": epoch,
        "steps": step,
        "num_epochs": train["epochs"],
        "seed": config["seed"],
        "learning_rate": optimizer.get("lr"),
        "unet_lr": optimizer.get("lr"),
        "text_encoder_lr": optimizer.get("lr") if config["network"]["text_encoders"] else None,
        "optimizer": optimizer["_target_"],
        "lr_scheduler": scheduler["_target_"].rpartition(".")[2],
        "lr_warmup_steps": scheduler.get("warmup"),
        "total_batch_size": train["batch_size"],
        "gradient_accumulation_steps": train["accumulation"],
        "gradient_checkpointing": train["gradient_checkpointing"],
        "mixed_precision": train["mixed_precision"],
        "max_grad_norm": train["max_grad_norm"],
        "noise_offset": noise.get("offset") or None,
        "multires_noise_iterations": noise.get("multires_iterations") or None,
        "min_snr_gamma": config["loss"].get("min_snr_gamma"),
        "shuffle_caption": data.get("shuffle_caption"),
        "keep_tokens": data.get("keep_tokens"),
        "caption_dropout_rate": data.get("caption_dropout"),
        "enable_bucket": data.get("bucket"),
        "flip_aug": data.get("flip"),
    }


def _model(config: Mapping[str, Any], family: Family) -> dict[str, Any]:
    model = config["model"]
    side = config["data"].get("resolution") or family.resolution
    return {
        "base_model_version": "sdxl_base_v1-0",
        "v2": False,
        "sd_model_name": Path(model["path"]).name,
        "vae_name": Path(model["vae"]).name if model["vae"] else None,
        "zero_terminal_snr": model["zero_terminal_snr"],
        "resolution": (side, side),
        "max_token_length": None,
        "clip_skip": None,
    }


def _dataset(config: Mapping[str, Any], pictures: Sequence[Captioned]) -> dict[str, Any]:
    """Images and tags by the folder that they come from; files beside the `N_name` folders count for the set."""
    folders: dict[str, list[Captioned]] = {}
    for picture in pictures:
        parent = picture.name.partition("/")[0] if "/" in picture.name else config["data"].get("name", "data")
        folders.setdefault(parent, []).append(picture)
    separator = config["data"].get("caption_separator", ",")
    return {
        "num_train_images": sum(picture.repeats for picture in pictures),
        "num_reg_images": 0,
        "dataset_dirs": {
            folder: {"n_repeats": members[0].repeats, "img_count": len(members)} for folder, members in folders.items()
        },
        "tag_frequency": {folder: _tags(members, separator) for folder, members in folders.items()},
    }


def _tags(pictures: Iterable[Captioned], separator: str) -> dict[str, int]:
    tags = (tag.strip() for picture in pictures for tag in picture.caption.split(separator))
    return dict(Counter(tag for tag in tags if tag))


def _modelspec(config: Mapping[str, Any], family: Family) -> dict[str, str]:
    side = config["data"].get("resolution") or family.resolution
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": config["name"],
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.prediction_type": "v" if family.prediction == "v_prediction" else "epsilon",
    }

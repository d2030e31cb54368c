"""What a diffusers folder says about its model in JSON and safetensors headers, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sweeplora.errors import UserError

Prediction = Literal["epsilon", "v_prediction"]

_PARTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
_VARIANTS = (None, "fp16")
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Part:
    """One network of the model: the configuration key it came by, its folder, config and weights.

    `variant` is None or "fp16", as `from_pretrained(variant=...)` takes it.
    """

    key: str
    path: Path
    config: Mapping[str, Any]
    variant: str | None
    weights: tuple[Path, ...]

    def entry(self, name: str) -> Any:
        """A value of the config; raises UserError where it is left out."""
        if name not in self.config:
            raise UserError(self.key, self.path, f"config.json lacks {name}; copy the folder again")
        return self.config[name]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Module name -> shape of its weight, for every weight of two or more dimensions."""
        entries = [item for file in self.weights for item in _header(file).items()]
        return {
            name.removesuffix(".weight"): tuple(entry["shape"])
            for name, entry in entries
            if name.endswith(".weight") and len(entry["shape"]) > 1
        }


@dataclass(frozen=True)
class ModelFacts:
    """What training must know of a model before it is loaded.

    `resolution`: default side in pixels. `scale_factor`: pixels a latent. `divisor`: image sides are multiples
    of it (the VAE's reduction times the U-Net's, so that every level halves evenly). `token_limit`: start and
    end included. `prediction`: what the scheduler's config says. `force_zeros`: an empty negative prompt means
    zeros, not the encoding of the empty text.
    """

    path: Path
    family: str
    unet: Part
    vae: Part
    text_encoders: tuple[Part, ...]
    resolution: int
    scale_factor: int
    divisor: int
    latent_channels: int
    token_limit: int
    prediction: Prediction
    num_timesteps: int
    force_zeros: bool
    scheduler: Mapping[str, Any]

    @property
    def parts(self) -> dict[str, Part]:
        """The networks by name: unet, vae, text_encoder, text_encoder_2."""
        encoders = zip(("text_encoder", "text_encoder_2"), self.text_encoders, strict=False)
        return {"unet": self.unet, "vae": self.vae, **dict(encoders)}


def read(path: Path, vae: Path | None = None) -> ModelFacts:
    """Read an SDXL folder, and another VAE's folder in place of its own.

    Raises UserError for `model.path` or `model.vae`, naming the part that is missing or broken.
    """
    if not path.is_dir():
        raise UserError("model.path", path, "the folder does not exist; give a diffusers folder")
    index = _json(path, "model_index.json")
    parts = {name: _part("model.path", path, name) for name in _PARTS if name != "vae"}
    parts["vae"] = _part("model.path", path, "vae") if vae is None else _other_vae(vae)
    for name in ("tokenizer", "tokenizer_2"):
        _expect_tokenizer(path, name)
    scheduler = _json(path, "scheduler/scheduler_config.json")
    return _facts(path, index, parts, scheduler)


def schedule(facts: ModelFacts, prediction: Prediction | None, zero_terminal_snr: bool) -> dict[str, Any]:
    """The noise schedule that training and sampling share: the model's own, with what the config asks for.

    `prediction` None keeps the model's. Zero terminal SNR is on where the config or the model's own schedule
    says so. Raises UserError where it meets epsilon prediction, which has no answer to pure noise, and for a
    kind of betas that is not SDXL's.
    """
    kind = prediction or facts.prediction
    rescale = zero_terminal_snr or bool(facts.scheduler.get("rescale_betas_zero_snr", False))
    if rescale and kind != "v_prediction":
        whose = "" if zero_terminal_snr else "the model's own schedule has it and "
        raise UserError("model.zero_terminal_snr", zero_terminal_snr, f"{whose}needs model.prediction=v_prediction")
    betas = facts.scheduler.get("beta_schedule", "linear")
    if betas not in ("linear", "scaled_linear"):
        mend = f"scheduler_config.json says beta_schedule {betas}; linear and scaled_linear can be trained"
        raise UserError("model.path", facts.path, mend)
    return {**facts.scheduler, "prediction_type": kind, "rescale_betas_zero_snr": rescale}


def _facts(path: Path, index: Mapping[str, Any], parts: Mapping[str, Part], scheduler: Mapping[str, Any]) -> ModelFacts:
    unet, vae = parts["unet"], parts["vae"]
    if unet.config.get("addition_embed_type") != "text_time":
        raise UserError("model.path", path, "unet/config.json is not SDXL's; give a folder of an SDXL model")
    channels, taken = vae.entry("latent_channels"), unet.entry("in_channels")
    if channels != taken:
        mend = f"it makes {channels} channels, the U-Net takes {taken}; give a VAE made for this model"
        raise UserError("model.vae", vae.path, mend)
    encoders = (parts["text_encoder"], parts["text_encoder_2"])
    factor = 2 ** (len(vae.entry("block_out_channels")) - 1)
    return ModelFacts(
        path=path,
        family="sdxl",
        unet=unet,
        vae=vae,
        text_encoders=encoders,
        resolution=unet.entry("sample_size") * factor,
        scale_factor=factor,
        divisor=factor * 2 ** (len(unet.entry("block_out_channels")) - 1),
        latent_channels=channels,
        token_limit=min(part.entry("max_position_embeddings") for part in encoders),
        prediction=_prediction(path, scheduler),
        num_timesteps=int(scheduler.get("num_train_timesteps", 1000)),
        force_zeros=bool(index.get("force_zeros_for_empty_prompt", True)),
        scheduler=scheduler,
    )


def _prediction(path: Path, scheduler: Mapping[str, Any]) -> Prediction:
    prediction: Prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        mend = f"scheduler_config.json says prediction_type {prediction}; epsilon and v_prediction can be trained"
        raise UserError("model.path", path, mend)
    return prediction


def _part(key: str, folder: Path, name: str) -> Part:
    path = folder / name
    if not (path / "config.json").is_file():
        raise UserError(key, folder, f"{name}/config.json is missing; give a whole diffusers folder")
    variant, weights = _weights(key, folder, name)
    return Part(key, path, _json(folder, f"{name}/config.json", key), variant, weights)


def _other_vae(folder: Path) -> Part:
    """A VAE's own folder, or a whole model's folder whose `vae` is meant."""
    if not folder.is_dir():
        raise UserError("model.vae", folder, "the folder does not exist; give a diffusers VAE folder, or null")
    inside = folder / "vae"
    path = inside if inside.is_dir() else folder
    if not (path / "config.json").is_file():
        raise UserError("model.vae", folder, "config.json is missing; give a diffusers VAE folder, or null")
    return _part("model.vae", path.parent, path.name)


def _weights(key: str, folder: Path, name: str) -> tuple[str | None, tuple[Path, ...]]:
    stem = _PARTS.get(name, _PARTS["vae"])
    for variant in _VARIANTS:
        suffix = "" if variant is None else f".{variant}"
        whole = folder / name / f"{stem}{suffix}.safetensors"
        if whole.is_file():
            _header_or_error(key, folder, whole)
            return variant, (whole,)
        index = folder / name / f"{stem}.safetensors.index{suffix}.json"
        if index.is_file():
            shards = _json(folder, f"{name}/{index.name}", key)["weight_map"].values()
            files = tuple(folder / name / shard for shard in sorted(set(shards)))
            for file in files:
                _header_or_error(key, folder, file)
            return variant, files
    mend = f"{name}/{stem}.safetensors is missing; give a whole diffusers folder with safetensors weights"
    raise UserError(key, folder, mend)


def _header_or_error(key: str, folder: Path, file: Path) -> None:
    name = file.relative_to(folder).as_posix()
    try:
        header = _header(file)
        promised = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        whole = file.stat().st_size >= _data_start(file) + promised
    except FileNotFoundError:
        raise UserError(key, folder, f"{name} is missing; copy the folder again") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(key, folder, f"{name} is no safetensors file; copy the folder again") from None
    if not whole:
        raise UserError(key, folder, f"{name} is truncated; copy the folder again")


def _header(file: Path) -> dict[str, Any]:
    """Tensor name -> dtype, shape and offsets: the JSON that opens a safetensors file."""
    end = _data_start(file)
    if end > file.stat().st_size:
        raise ValueError("header longer than the file")
    with file.open("rb") as stream:
        header: dict[str, Any] = json.loads(stream.read(end)[_LENGTH_BYTES:])
    header.pop("__metadata__", None)
    return header


def _data_start(file: Path) -> int:
    with file.open("rb") as stream:
        return _LENGTH_BYTES + int.from_bytes(stream.read(_LENGTH_BYTES), "little")


def _expect_tokenizer(folder: Path, name: str) -> None:
    files = {file.name for file in (folder / name).glob("*")}
    if "tokenizer.json" not in files and not {"vocab.json", "merges.txt"} <= files:
        mend = f"{name}/tokenizer.json (or vocab.json with merges.txt) is missing; give a whole diffusers folder"
        raise UserError("model.path", folder, mend)


def _json(folder: Path, name: str, key: str = "model.path") -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text())
    except FileNotFoundError:
        raise UserError(key, folder, f"{name} is missing; give a whole diffusers folder") from None
    except ValueError:
        raise UserError(key, folder, f"{name} is no JSON; copy the folder again") from None
    if not isinstance(content, dict):
        raise UserError(key, folder, f"{name} holds no JSON object; copy the folder again")
    return content

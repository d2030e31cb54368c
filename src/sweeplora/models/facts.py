"""What is known about a model before it is loaded: its parts, their tensors, its schedule; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sweeplora.errors import UserError
from sweeplora.models.layout import Layout
from sweeplora.models.text.tokens import TokenizerFiles
from sweeplora.tensors.stored import Stored

Prediction = Literal["epsilon", "v_prediction"]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Part:
    """One network of the model.

    `key`: the configuration key that named it. `path`: its folder, or the file that holds it. `config`: what
    diffusers or transformers builds it from. `tensors`: name in the built module -> location in a file.
    `files`: every file that determines it.
    """

    key: str
    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    files: tuple[Path, ...]

    def entry(self, name: str) -> Any:
        """A value of the config; raises UserError if it is missing."""
        if name not in self.config:
            raise UserError(self.key, self.path, f"config.json lacks {name}; copy the folder again")
        return self.config[name]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Module name -> shape of its weight, including norms."""
        return {
            name.removesuffix(".weight"): stored.shape
            for name, stored in self.tensors.items()
            if name.endswith(".weight")
        }


@dataclass(frozen=True)
class Contents:
    """The contents of a model folder or file, before the configuration's options apply.

    `vae` is None if a separate VAE is used. `scheduler`: its own noise schedule. `force_zeros`: an empty negative
    prompt means zeros, not the encoding of the empty text. `files`: files that determine it besides those of the
    parts and tokenizers.
    """

    unet: Part
    vae: Part | None
    text_encoders: tuple[Part, ...]
    tokenizers: tuple[TokenizerFiles, ...]
    tokenizer_files: tuple[Path, ...]
    scheduler: Mapping[str, Any]
    force_zeros: bool
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ModelFacts:
    """What training must know about a model before it is loaded.

    `scheduler`: the noise schedule with the configured prediction and zero terminal SNR. `force_zeros`: an empty
    negative prompt means zeros, not the encoding of the empty text. `max_tokens`: the longest caption, excluding
    start and end. `other_files`: files that determine the model besides those of the parts and tokenizers.
    """

    path: Path
    layout: Layout
    unet: Part
    vae: Part
    text_encoders: tuple[Part, ...]
    tokenizers: tuple[TokenizerFiles, ...]
    tokenizer_files: tuple[Path, ...]
    scheduler: Mapping[str, Any]
    force_zeros: bool
    max_tokens: Literal[75, 150, 225]
    other_files: tuple[Path, ...]

    @property
    def scale_factor(self) -> int:
        """Pixels per latent, along one side."""
        return int(2 ** (len(self.vae.entry("block_out_channels")) - 1))

    @property
    def divisor(self) -> int:
        """Image sides must be multiples of it: the VAE's reduction times the U-Net's, so that levels halve evenly."""
        return int(self.scale_factor * 2 ** (len(self.unet.entry("block_out_channels")) - 1))

    @property
    def resolution(self) -> int:
        """Default side of an image in pixels."""
        return int(self.unet.entry("sample_size") * self.scale_factor)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.vae.entry("latent_channels"))

    @property
    def num_timesteps(self) -> int:
        """Length of the noise schedule."""
        return int(self.scheduler.get("num_train_timesteps", 1000))

    @property
    def prediction(self) -> Prediction:
        """What the U-Net predicts."""
        kind: Prediction = self.scheduler["prediction_type"]
        return kind

    @property
    def parts(self) -> dict[str, Part]:
        """The networks by folder name: unet, vae, text_encoder, text_encoder_2."""
        encoders = zip(("text_encoder", "text_encoder_2"), self.text_encoders, strict=False)
        return {"unet": self.unet, "vae": self.vae, **dict(encoders)}

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that affects what the model computes, sorted, without duplicates."""
        of_parts = (file for part in self.parts.values() for file in part.files)
        return tuple(sorted({*self.tokenizer_files, *self.other_files, *of_parts}))

    def unet_shapes(self) -> dict[str, tuple[int, ...]]:
        """diffusers' module name -> shape of its weight, for the U-Net."""
        return self.unet.shapes()

    def encoder_shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """transformers' module name -> shape of its weight, for each text encoder."""
        return [part.shapes() for part in self.text_encoders]


def schedule(
    path: Path, own: Mapping[str, Any], prediction: Prediction | None, zero_terminal_snr: bool
) -> dict[str, Any]:
    """The noise schedule that training and sampling share: the model's own, with the config's changes.

    `prediction` None keeps the model's. Zero terminal SNR is on if the config or the model's own schedule
    enables it. Raises UserError if it is combined with epsilon prediction, which is undefined at pure noise, and
    for a prediction type or betas that cannot be trained.
    """
    kind = prediction or own.get("prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction"):
        mend = f"scheduler_config.json says prediction_type {kind}; epsilon and v_prediction can be trained"
        raise UserError("model.path", path, mend)
    rescale = zero_terminal_snr or bool(own.get("rescale_betas_zero_snr", False))
    if rescale and kind != "v_prediction":
        whose = "" if zero_terminal_snr else "the model's own schedule has it and "
        raise UserError("model.zero_terminal_snr", zero_terminal_snr, f"{whose}needs model.prediction=v_prediction")
    betas = own.get("beta_schedule", "linear")
    if betas not in ("linear", "scaled_linear"):
        mend = f"scheduler_config.json says beta_schedule {betas}; linear and scaled_linear can be trained"
        raise UserError("model.path", path, mend)
    return {**own, "prediction_type": kind, "rescale_betas_zero_snr": rescale}

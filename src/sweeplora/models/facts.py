"""What is known of a model before it is loaded: its parts, what their tensors are, its schedule; no torch."""

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

    `key`: the configuration key it came by. `path`: its folder, or the file that holds it. `config`: what
    diffusers or transformers build it from. `tensors`: name in the built module -> where it lies.
    `files`: all that decides it.
    """

    key: str
    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    files: tuple[Path, ...]

    def entry(self, name: str) -> Any:
        """A value of the config; raises UserError where it is left out."""
        if name not in self.config:
            raise UserError(self.key, self.path, f"config.json lacks {name}; copy the folder again")
        return self.config[name]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Module name -> shape of its weight, norms' included."""
        return {
            name.removesuffix(".weight"): stored.shape
            for name, stored in self.tensors.items()
            if name.endswith(".weight")
        }


@dataclass(frozen=True)
class Contents:
    """What a folder or a file holds, as it says itself.

    `vae` is None where another's is used. `scheduler`: its own noise schedule. `force_zeros`: an empty negative
    prompt means zeros, not the encoding of the empty text. `files`: what decides it besides parts and tokenizers.
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
    """What training must know of a model before it is loaded.

    `scheduler`: the noise schedule with prediction and zero terminal SNR as the config asks for them.
    `force_zeros`: an empty negative prompt means zeros, not the encoding of the empty text. `max_tokens`: the
    longest caption, start and end aside. `other_files`: what decides the model besides parts and tokenizers.
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
        """Pixels to a latent."""
        return int(2 ** (len(self.vae.entry("block_out_channels")) - 1))

    @property
    def divisor(self) -> int:
        """Image sides are multiples of it: the VAE's reduction times the U-Net's, so that every level halves evenly."""
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
        """The networks by the names of their folders: unet, vae, text_encoder, text_encoder_2."""
        encoders = zip(("text_encoder", "text_encoder_2"), self.text_encoders, strict=False)
        return {"unet": self.unet, "vae": self.vae, **dict(encoders)}

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides what the model computes, sorted and each once."""
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
    """The noise schedule that training and sampling share: the model's own, with what the config asks for.

    `prediction` None keeps the model's. Zero terminal SNR is on where the config or the model's own schedule
    says so. Raises UserError where it meets epsilon prediction, which has no answer to pure noise, and for a
    kind of prediction or betas that cannot be trained.
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

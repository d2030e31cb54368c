"""A base model as a configuration describes it: the options of every family and the checks on them; no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import MinLen

from sweeplora.errors import UserError
from sweeplora.models import attention
from sweeplora.models.architecture import Architecture
from sweeplora.models.facts import ModelFacts, Part, schedule
from sweeplora.models.reading import folder, one_file
from sweeplora.models.usual import Usual


@dataclass(frozen=True)
class Base(ABC):
    """The keys of conf/model.

    `name` appears in file names and metadata. `path`: a diffusers folder or one file. `vae`: another VAE; None
    uses the model's own. `prediction`: None uses the model's own setting. `max_tokens`: the longest
    caption. `base_precision`: fp8 keeps the frozen U-Net in 8 bits. `base_weights`: LoRA files to merge into
    the model first, each scaled by its multiplier.
    """

    name: Annotated[str, MinLen(1)]
    path: Annotated[str, MinLen(1)]
    vae: Annotated[str, MinLen(1)] | None
    prediction: Literal["epsilon", "v_prediction"] | None
    zero_terminal_snr: bool
    max_tokens: Literal[75, 150, 225]
    attention: Literal["sdpa", "xformers", "sliced"]
    vae_precision: Literal["fp32", "fp16", "bf16"]
    base_precision: Literal["fp8"] | None
    base_weights: Annotated[list[str], MinLen(1)] | None
    base_weights_multiplier: list[float] | None

    @property
    def merged(self) -> list[tuple[Path, float]]:
        """The LoRA files to merge, each with its multiplier; raises UserError if the lists do not match."""
        files, multipliers = self.base_weights or [], self.base_weights_multiplier
        if multipliers is None:
            multipliers = [1.0] * len(files)
        if len(multipliers) != len(files):
            mend = f"give one number for each of the {len(files)} files of model.base_weights, or null"
            raise UserError("model.base_weights_multiplier", multipliers, mend)
        return [(Path(file), multiplier) for file, multiplier in zip(files, multipliers, strict=True)]

    @abstractmethod
    def facts(self) -> ModelFacts:
        """The facts read from the model's files; raises UserError for files that cannot be used."""

    def usual(self) -> Usual | None:
        """What its family usually asks of images and captions, None if nobody has said it; needs no file."""
        return None


def read(base: Base, architecture: Architecture) -> ModelFacts:
    """The facts of the model that `base` names; raises UserError for everything wrong with it."""
    attention.check(base.attention)
    path = Path(base.path)
    if not path.exists():
        raise UserError(
            "model.path", path, "it does not exist; give a diffusers folder, a .safetensors or a .ckpt file"
        )
    reader = folder.read_model if path.is_dir() else one_file.read_model
    found = reader(path, architecture, own_vae=base.vae is None)
    vae = found.vae or _other_vae(Path(str(base.vae)), architecture)
    facts = ModelFacts(
        path=path,
        layout=architecture.layout,
        unet=found.unet,
        vae=vae,
        text_encoders=found.text_encoders,
        tokenizers=found.tokenizers,
        tokenizer_files=found.tokenizer_files,
        scheduler=schedule(path, found.scheduler, base.prediction, base.zero_terminal_snr),
        force_zeros=found.force_zeros,
        max_tokens=base.max_tokens,
        other_files=(*found.files, *(file for file, _ in base.merged)),
    )
    channels, taken = facts.latent_channels, facts.unet.entry("in_channels")
    if channels != taken:
        mend = f"it makes {channels} channels, the U-Net takes {taken}; give a VAE made for this model"
        raise UserError("model.vae", facts.vae.path, mend)
    return facts


def _other_vae(path: Path, architecture: Architecture) -> Part:
    if not path.exists():
        raise UserError("model.vae", path, "it does not exist; give a VAE's folder or file, or null")
    return folder.read_vae(path) if path.is_dir() else one_file.read_vae(path, architecture.layout.name)

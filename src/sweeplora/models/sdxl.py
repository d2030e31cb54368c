"""Stable Diffusion XL: two text encoders, and a U-Net conditioned on the image's sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeplora.models.architecture import Architecture, Conditioning, Encoder
from sweeplora.models.base import Base, read
from sweeplora.models.facts import ModelFacts
from sweeplora.models.layout import Layout, original_names, sdxl_block
from sweeplora.models.usual import Usual, usual

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sweeplora.models.family import Family, Text

LAYOUT = Layout(
    name="sdxl",
    encoder_prefixes=("lora_te1", "lora_te2"),
    unet_names=original_names,
    num_blocks=23,
    blocks="1 embedding, 9 down, 3 middle, 9 up, 1 output",
    block_of=sdxl_block,
    base_model_version="sdxl_base_v1-0",
    architecture="stable-diffusion-xl-v1-base",
)

ARCHITECTURE = Architecture(
    title="SDXL",
    layout=LAYOUT,
    encoders=(
        Encoder(
            part="text_encoder",
            tokenizer="tokenizer",
            projects=False,
            original="conditioner.embedders.0.transformer.",
            style="clip",
            padding="end",
        ),
        Encoder(
            part="text_encoder_2",
            tokenizer="tokenizer_2",
            projects=True,
            original="conditioner.embedders.1.model.",
            style="open_clip",
            padding="zero",
        ),
    ),
    addition_embed_type="text_time",
    heads=lambda channels: max(1, channels // 64),
    force_zeros=True,
)


@dataclass(frozen=True)
class SDXL(Base):
    """An SDXL model: a diffusers folder, or one file in the original layout."""

    def facts(self) -> ModelFacts:
        """What is known about it before it is loaded; raises UserError for everything wrong with it."""
        return read(self, ARCHITECTURE)

    def usual(self) -> Usual:
        """What its family usually asks of images and captions; needs no file."""
        return usual(ARCHITECTURE)

    def load(self, device: torch.device, precision: torch.dtype | None = None) -> Family:
        """Load it onto `device`, frozen and in evaluation mode, in float32; the U-Net in `precision` if given.

        Captions are encoded as in the SDXL pipeline: the penultimate layers of both encoders, concatenated, and
        the second encoder's projection of the end token.
        """
        from sweeplora.models.loaded import Placement, load

        conditioning = Conditioning(layer=-2, final_norm=False, conditions=size_conditions)
        return load(self, ARCHITECTURE, self.facts(), conditioning, Placement(device, precision))


def size_conditions(text: Text, sizes: Tensor) -> dict[str, Tensor] | None:
    """Pooled text and size ids: original height, width, crop top, left, target height, width in pixels.

    Podell et al. 2023, arXiv:2307.01952, section 2.2.
    """
    return {"text_embeds": text.pooled, "time_ids": sizes}

"""Stable Diffusion 1.5: one text encoder, optionally with its last layers skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from sweeplora.errors import UserError
from sweeplora.models.architecture import Architecture, Conditioning, Encoder
from sweeplora.models.base import Base, read
from sweeplora.models.facts import ModelFacts
from sweeplora.models.layout import Layout, diffusers_names, sd15_block
from sweeplora.models.usual import Usual, usual

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sweeplora.models.family import Family, Text

LAYOUT = Layout(
    name="sd15",
    encoder_prefixes=("lora_te",),
    unet_names=diffusers_names,
    num_blocks=25,
    blocks="12 down, 1 middle, 12 up",
    block_of=sd15_block,
    base_model_version="sd_v1",
    architecture="stable-diffusion-v1",
)

ARCHITECTURE = Architecture(
    title="SD 1.5",
    layout=LAYOUT,
    encoders=(
        Encoder(
            part="text_encoder",
            tokenizer="tokenizer",
            projects=False,
            original="cond_stage_model.transformer.",
            style="clip",
            padding="end",
        ),
    ),
    addition_embed_type=None,
    heads=lambda channels: 8,
    force_zeros=False,
)


@dataclass(frozen=True)
class SD15(Base):
    """An SD 1.5 model: a diffusers folder, or one file in the original layout.

    `clip_skip`: the encoder layer that conditions the U-Net, counted from the end: 1 is the last, 2 the one before.
    """

    clip_skip: Annotated[int, Ge(1)]

    def facts(self) -> ModelFacts:
        """What is known about it before it is loaded; raises UserError for everything wrong with it."""
        facts = read(self, ARCHITECTURE)
        layers = facts.text_encoders[0].entry("num_hidden_layers")
        if self.clip_skip > layers:
            raise UserError("model.clip_skip", self.clip_skip, f"the text encoder has {layers} layers")
        return facts

    def usual(self) -> Usual:
        """What its family usually asks of images and captions; needs no file."""
        return usual(ARCHITECTURE)

    def load(self, device: torch.device, precision: torch.dtype | None = None) -> Family:
        """Load it onto `device`, frozen and in evaluation mode, in float32; the U-Net in `precision` if given.

        Captions are encoded by the layer that `clip_skip` selects, followed by the encoder's final norm; there is no
        pooled output.
        """
        from sweeplora.models.loaded import Placement, load

        conditioning = Conditioning(layer=-self.clip_skip, final_norm=True, conditions=no_conditions)
        return load(self, ARCHITECTURE, self.facts(), conditioning, Placement(device, precision))


def no_conditions(text: Text, sizes: Tensor) -> dict[str, Tensor] | None:
    """None: the U-Net takes no conditioning besides the hidden states."""
    return None

"""What tells one family from another, as data: how its files are named, and what conditions its U-Net."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sweeplora.models.layout import Layout
from sweeplora.models.text.vocabulary import Padding

if TYPE_CHECKING:
    from torch import Tensor

    from sweeplora.models.family import Text

Conditions = Callable[["Text", "Tensor"], "dict[str, Tensor] | None"]
"""Encoded captions and size ids [B, 6] -> what the U-Net takes besides the hidden states."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder of a family.

    `part` and `tokenizer` name its folders. `projects`: it ends in a projection of the end token. `original`:
    what its tensors' names start with in one file. `style`: whose names follow, OpenAI's CLIP as transformers
    has it or OpenCLIP. `padding`: what fills a caption up.
    """

    part: str
    tokenizer: str
    projects: bool
    original: str
    style: Literal["clip", "open_clip"]
    padding: Padding

    @property
    def prefix(self) -> str:
        """What the names in transformers' module start with."""
        return "text_model." if self.projects else ""


@dataclass(frozen=True)
class Architecture:
    """One family. `title` is its name in messages; `addition_embed_type` the U-Net's, as its config has it.

    `heads`: channels -> heads of the U-Net's attention, which a single file does not say. `force_zeros`: whether
    an empty negative prompt means zeros where a model does not say it.
    """

    title: str
    layout: Layout
    encoders: tuple[Encoder, ...]
    addition_embed_type: str | None
    heads: Callable[[int], int]
    force_zeros: bool

    def misfit(self, unet: Mapping[str, Any], encoder: Mapping[str, Any]) -> str | None:
        """Why a U-Net's and the first text encoder's configs are not this family's; None where they are."""
        if unet.get("addition_embed_type") != self.addition_embed_type:
            return f"unet/config.json is not {self.title}'s; give a folder of an {self.title} model"
        if unet.get("in_channels") != unet.get("out_channels"):
            taken = unet.get("in_channels")
            return (
                f"the U-Net takes {taken} channels, an inpainting or editing model's; give a plain {self.title} model"
            )
        if encoder.get("hidden_act", "quick_gelu") != "quick_gelu":
            return f"text_encoder/config.json is not {self.title}'s but an SD 2 model's; give one of {self.title}"
        return None


@dataclass(frozen=True)
class Conditioning:
    """What of the text encoders conditions the U-Net.

    `layer` counts hidden states from the end, -1 the last. `final_norm`: it passes the encoder's last norm.
    `conditions` makes the U-Net's further arguments.
    """

    layer: int
    final_norm: bool
    conditions: Conditions

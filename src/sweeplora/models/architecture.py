"""What distinguishes the model families, as data: the names in their files and the conditioning of their U-Nets."""

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
"""Encoded captions and size ids [B, 6] -> the U-Net's conditioning arguments besides the hidden states."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder of a family.

    `part` and `tokenizer` name its folders. `projects`: it ends in a projection of the end token. `original`: the
    prefix of its tensor names in a single-file checkpoint. `style`: the naming scheme after that prefix, OpenAI's
    CLIP (as in transformers) or OpenCLIP. `padding`: the token that pads a caption.
    """

    part: str
    tokenizer: str
    projects: bool
    original: str
    style: Literal["clip", "open_clip"]
    padding: Padding

    @property
    def prefix(self) -> str:
        """The prefix of the tensor names in transformers' module."""
        return "text_model." if self.projects else ""


@dataclass(frozen=True)
class Architecture:
    """One family. `title` is its name in messages; `addition_embed_type` is the value in the U-Net's config.

    `heads`: channels -> heads of the U-Net's attention, which a single file does not record. `force_zeros`: whether
    an empty negative prompt means zeros when the model does not specify it.
    """

    title: str
    layout: Layout
    encoders: tuple[Encoder, ...]
    addition_embed_type: str | None
    heads: Callable[[int], int]
    force_zeros: bool

    def misfit(self, unet: Mapping[str, Any], encoder: Mapping[str, Any]) -> str | None:
        """Why the configs of a U-Net and the first text encoder do not match this family; None if they do."""
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
    """Which text encoder outputs condition the U-Net.

    `layer` counts hidden states from the end, -1 is the last. `final_norm`: apply the encoder's final norm to it.
    `conditions` builds the U-Net's remaining arguments.
    """

    layer: int
    final_norm: bool
    conditions: Conditions

"""What the models of a family usually ask of images and captions, for a data set that is looked at without a model."""

from __future__ import annotations

from typing import NamedTuple

from sweeplora.models.architecture import Architecture
from sweeplora.models.reading import inferred_config
from sweeplora.models.text.tokens import TokenizerFiles


class Usual(NamedTuple):
    """Sides are multiples of `divisor`, and `resolution` pixels by default; and the packaged tokenizers."""

    divisor: int
    resolution: int
    tokenizers: tuple[TokenizerFiles, ...]


def usual(architecture: Architecture) -> Usual:
    """The family's published model: 32 and 1024 for SDXL, 64 and 512 for SD 1.5."""
    unet, vae = (inferred_config.shared(architecture.layout.name, part) for part in ("unet", "vae"))
    scale = vae["sample_size"] // unet["sample_size"]
    divisor = scale * 2 ** (len(unet["down_block_types"]) - 1)
    tokenizers = tuple(TokenizerFiles(None, one.padding) for one in architecture.encoders)
    return Usual(divisor, vae["sample_size"], tokenizers)

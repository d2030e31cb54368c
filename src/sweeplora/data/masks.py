"""Masks: where in a picture the loss counts, from an image of its own or from the picture's alpha channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sweeplora.data.buckets import Size
from sweeplora.data.decode import decode


def split(data: bytes) -> tuple[Image.Image, Image.Image]:
    """The picture in a file's bytes as RGB under its transparency, and the transparency as grey levels.

    Nothing is blended with white here: what the mask hides is still seen by the model. A picture without
    transparency is opaque everywhere. Raises ImageFault as `decode` does.
    """
    picture = decode(data, keep_alpha=True)
    return picture.convert("RGB"), picture.getchannel("A")


def drawn(data: bytes) -> Image.Image:
    """The grey levels of a mask's file: its red channel, as in the reference."""
    return split(data)[0].getchannel("R")


def scale(mask: Image.Image, size: Size) -> Image.Image:
    """The mask in a picture's scaled size, by area averages where it shrinks, else by Lanczos (the reference's way)."""
    if mask.size == size:
        return mask
    shrinks = mask.width >= size.width and mask.height >= size.height
    return mask.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.LANCZOS)


def shrink(levels: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Grey levels [H, W] as shares [1, h, w] from 0 to 1: each latent's mean over `factor` x `factor` pixels."""
    height, width = (side // factor for side in levels.shape)
    shares = np.empty((1, height, width), np.float32)
    shares[0] = levels.reshape(height, factor, width, factor).mean((1, 3), dtype=np.float64) / 255
    return shares

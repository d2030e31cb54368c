"""One picture as the numbers a VAE reads, scaled and cut to its bucket."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sweeplora.data.buckets import Fit, fit, flipped_left
from sweeplora.data.images import ImageFault, decode
from sweeplora.data.index import Picture


def read(picture: Picture, flip: bool) -> NDArray[np.float32]:
    """Pixels [3, H, W] in [-1, 1] of the picture, or of its mirror image, in its bucket's size.

    Lanczos both ways: Pillow widens the filter when it shrinks, so nothing aliases. (sd-scripts shrinks by
    area averages, which is a little softer, and enlarges by Lanczos.) Raises ImageFault where the file is no
    longer the one that was read into the data set, and OSError where it is gone.
    """
    data = picture.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise ImageFault("has changed since the run began")
    image = decode(data)
    placed = placing(picture)
    if image.size != placed.scaled:
        image = image.resize(placed.scaled, Image.Resampling.LANCZOS)
    right, bottom = placed.left + picture.bucket.width, placed.top + picture.bucket.height
    values = np.asarray(image.crop((placed.left, placed.top, right, bottom)), np.float32)
    if flip:
        values = values[:, ::-1]
    return np.ascontiguousarray(values.transpose(2, 0, 1)) / np.float32(127.5) - np.float32(1)


def size_ids(picture: Picture, flip: bool) -> tuple[int, int, int, int, int, int]:
    """SDXL's six size and crop ids: original height and width, crop top and left, target height and width."""
    placed = placing(picture)
    left = flipped_left(placed, picture.bucket) if flip else placed.left
    return (picture.height, picture.width, placed.top, left, picture.bucket.height, picture.bucket.width)


def placing(picture: Picture) -> Fit:
    """How the picture comes into its bucket."""
    return fit(picture.width, picture.height, picture.bucket)

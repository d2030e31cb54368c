"""One image and its mask, scaled and cropped to the bucket, as levels for the VAE."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sweeplora.data.augment import change_color
from sweeplora.data.buckets import centred
from sweeplora.data.dataset import Picture
from sweeplora.data.decode import ImageFault, decode
from sweeplora.data.masks import mask_levels, scale_mask, split_alpha


class View(NamedTuple):
    """Where the scaled image is cropped (pixels), and whether the crop is mirrored.

    `color` is the seed of its change of colour, None for no change.
    """

    left: int
    top: int
    flip: bool
    color: int | None


class CroppedPicture(NamedTuple):
    """Levels [3, H, W] of an image in its bucket's size, and [H, W] of its mask if it has one."""

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None


def centre_view(picture: Picture, flip: bool = False) -> View:
    """The centre crop in its own colours."""
    placed = centred(picture.scaled, picture.bucket)
    return View(placed.left, placed.top, flip, None)


def random_view(picture: Picture, flip: bool, draw: random.Random) -> View:
    """A crop at a random position, all equally likely."""
    left = draw.randint(0, picture.scaled.width - picture.bucket.width)
    return View(left, draw.randint(0, picture.scaled.height - picture.bucket.height), flip, None)


def size_ids(picture: Picture, view: View) -> tuple[int, int, int, int, int, int]:
    """SDXL's six size and crop ids: original height and width, crop top and left, target height and width.

    The crop is the one of this view, in the mirrored image where it is mirrored. (sd-scripts gives the position of the
    centre crop, whatever the crop.)
    """
    left = picture.scaled.width - picture.bucket.width - view.left if view.flip else view.left
    return (picture.height, picture.width, view.top, left, picture.bucket.height, picture.bucket.width)


def read(picture: Picture, view: View) -> CroppedPicture:
    """The image and its mask in the bucket's size.

    Lanczos both ways: Pillow widens the filter when it shrinks, so nothing aliases. (sd-scripts shrinks by area
    averages, which is a little softer, and enlarges by Lanczos.) Raises ImageFault where a file has changed since the
    data set was read, and OSError where it is gone.
    """
    image, mask = _opened(picture)
    if image.size != picture.scaled:
        image = image.resize(picture.scaled, Image.Resampling.LANCZOS)
    image = _crop(image, picture, view)
    if view.color is not None:
        image = change_color(image, random.Random(view.color))
    pixels = np.ascontiguousarray(_levels(image, view.flip).transpose(2, 0, 1))
    return CroppedPicture(pixels, None if mask is None else _mask(mask, picture, view))


def read_mask(picture: Picture, view: View) -> NDArray[np.uint8]:
    """Levels [H, W] of an image's mask alone; raises as `read` does."""
    assert picture.mask is not None, f"{picture.name} has no mask"
    if picture.mask.path is None:
        mask = split_alpha(_bytes(picture.path, picture.sha256))[1]
    else:
        mask = mask_levels(_bytes(picture.mask.path, picture.mask.sha256))
    return _mask(mask, picture, view)


def _opened(picture: Picture) -> tuple[Image.Image, Image.Image | None]:
    data = _bytes(picture.path, picture.sha256)
    if picture.mask is None:
        return decode(data), None
    if picture.mask.path is None:
        return split_alpha(data)
    return decode(data), mask_levels(_bytes(picture.mask.path, picture.mask.sha256))


def _bytes(path: Path, sha256: str | None) -> bytes:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ImageFault("has changed since the run began")
    return data


def _crop(image: Image.Image, picture: Picture, view: View) -> Image.Image:
    return image.crop((view.left, view.top, view.left + picture.bucket.width, view.top + picture.bucket.height))


def _mask(mask: Image.Image, picture: Picture, view: View) -> NDArray[np.uint8]:
    return np.ascontiguousarray(_levels(_crop(scale_mask(mask, picture.scaled), picture, view), view.flip))


def _levels(image: Image.Image, flip: bool) -> NDArray[np.uint8]:
    levels = np.asarray(image, np.uint8)
    return levels[:, ::-1] if flip else levels


def shrink_mask(levels: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Grey levels [H, W] as weights [1, h, w] from 0 to 1: the mean over `factor` x `factor` pixels a latent."""
    height, width = (side // factor for side in levels.shape)
    shares = np.empty((1, height, width), np.float32)
    shares[0] = levels.reshape(height, factor, width, factor).mean((1, 3), dtype=np.float64) / 255
    return shares

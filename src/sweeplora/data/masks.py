"""Masks: where in an image the loss counts, from a mask file or from the image's own alpha channel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from sweeplora.data.buckets import Size, centred
from sweeplora.data.caption_files import stem
from sweeplora.data.dataset import Mask, Picture
from sweeplora.data.decode import SUFFIXES, decode
from sweeplora.data.listing import FoundImage, judge, names_below, suffix
from sweeplora.data.notices import counted, shown
from sweeplora.data.verdicts import Box, ImageVerdicts
from sweeplora.errors import UserError


class FoundMask(NamedTuple):
    """A mask, and the box around all that it lets count, in pixels of the upright image; None: it hides everything."""

    mask: Mask
    lit: Box | None


def find_masks(
    key: str, folder: Path, found: Sequence[FoundImage], verdicts: ImageVerdicts
) -> tuple[list[FoundMask], list[str]]:
    """The mask of every image, and notices: the image file in `folder` of the same name, whatever its suffix.

    `key` is the configuration key that names the folder. Raises UserError where one is missing, is not unique,
    cannot be read, or is not of its image's size.
    """
    files: dict[str, list[str]] = defaultdict(list)
    for name in names_below(key, folder, "masks"):
        if suffix(name) in SUFFIXES:
            files[stem(name)].append(name)
    missing = [one.name for one in found if not files.get(stem(one.name))]
    if missing:
        mend = f"{len(missing)} of {len(found)} images have no mask there (first: {shown(missing[0])})"
        raise UserError(key, shown(str(folder)), f"{mend}; add {shown(stem(missing[0]))}.png and the like")
    doubled = next((files[stem(one.name)] for one in found if len(files[stem(one.name)]) > 1), None)
    if doubled:
        named = " and ".join(shown(name) for name in doubled)
        raise UserError(key, shown(str(folder)), f"{named} would mask the same image; keep one")
    names = [files[stem(one.name)][0] for one in found]
    judged = judge(key, folder, names, verdicts)
    for image, name, one in zip(found, names, judged, strict=True):
        if one.size != image.size:
            sizes = f"{_written(one.size)} pixels, its image {_written(image.size)}"
            raise UserError(key, shown(str(folder / name)), f"the mask has {sizes}; make them alike")
    unused = {name for group in files.values() for name in group} - set(names)
    masks = [FoundMask(Mask(folder / name, one.sha256), one.lit) for name, one in zip(names, judged, strict=True)]
    return masks, counted(sorted(unused), "mask belongs to no image", "masks belong to no image")


def hides_all(picture: Picture, lit: Box | None) -> bool:
    """Whether nothing of an image counts, wherever it is cut; `lit` is the box of its FoundMask."""
    if lit is None or picture.treatment.random_crop:
        return lit is None
    crop = centred(picture.scaled, picture.bucket)
    across, down = picture.width / picture.scaled.width, picture.height / picture.scaled.height
    left, right = crop.left * across, (crop.left + picture.bucket.width) * across
    top, bottom = crop.top * down, (crop.top + picture.bucket.height) * down
    return lit[2] <= left or lit[0] >= right or lit[3] <= top or lit[1] >= bottom


def split_alpha(data: bytes) -> tuple[Image.Image, Image.Image]:
    """The image in a file's bytes as RGB below its transparency, and its alpha channel as grey levels.

    Nothing is blended with white here: the model sees what the mask hides. An image without transparency is opaque
    everywhere. Raises ImageFault as `decode` does.
    """
    image = decode(data, keep_alpha=True)
    return image.convert("RGB"), image.getchannel("A")


def mask_levels(data: bytes) -> Image.Image:
    """The grey levels of a mask file: its red channel, as in sd-scripts."""
    return split_alpha(data)[0].getchannel("R")


def scale_mask(mask: Image.Image, size: Size) -> Image.Image:
    """The mask at an image's scaled size: by area averages where it shrinks, else by Lanczos, as in sd-scripts."""
    if mask.size == size:
        return mask
    shrinks = mask.width >= size.width and mask.height >= size.height
    return mask.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.LANCZOS)


def _written(size: Size | None) -> str:
    return f"{size.width} x {size.height}" if size else "none"

"""Masks: where in an image the loss counts, from a mask file or from the image's own alpha channel."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from PIL import Image

from sweeplora.data.buckets import Size
from sweeplora.data.dataset import Mask
from sweeplora.data.decode import SUFFIXES, ImageVerdicts, decode
from sweeplora.data.listing import FoundImage, judged, names_below, suffix
from sweeplora.errors import UserError


def find_masks(key: str, folder: Path, found: list[FoundImage], verdicts: ImageVerdicts) -> list[Mask]:
    """The mask of every image: the image file in `folder` of the same name, whatever its suffix.

    `key` is the configuration key that named the folder. Raises UserError where one is missing, is not
    unique, cannot be read, or is not of its image's size.
    """
    files: dict[str, list[str]] = defaultdict(list)
    for name in names_below(key, folder, "masks"):
        if suffix(name) in SUFFIXES:
            files[_stem(name)].append(name)
    missing = [one.name for one in found if not files.get(_stem(one.name))]
    if missing:
        mend = f"{len(missing)} of {len(found)} images have no mask there (first: {missing[0]})"
        raise UserError(key, folder, f"{mend}; add {_stem(missing[0])}.png and the like")
    doubled = [files[_stem(one.name)] for one in found if len(files[_stem(one.name)]) > 1]
    if doubled:
        raise UserError(key, folder, f"{' and '.join(doubled[0])} would mask the same image; keep one")
    names = [files[_stem(one.name)][0] for one in found]
    masks = judged(key, folder, names, verdicts)
    for image, name, mask in zip(found, names, masks, strict=True):
        if mask.size != image.size:
            sizes = f"{_written(mask.size)} pixels, its image {_written(image.size)}"
            raise UserError(key, folder / name, f"the mask has {sizes}; make them alike")
    return [Mask(folder / name, mask.sha256) for name, mask in zip(names, masks, strict=True)]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _written(size: tuple[int, int] | None) -> str:
    return f"{size[0]} x {size[1]}" if size else "none"


def split_alpha(data: bytes) -> tuple[Image.Image, Image.Image]:
    """The picture in a file's bytes as RGB under its transparency, and the transparency as grey levels.

    Nothing is blended with white here: what the mask hides is still seen by the model. A picture without
    transparency is opaque everywhere. Raises ImageFault as `decode` does.
    """
    picture = decode(data, keep_alpha=True)
    return picture.convert("RGB"), picture.getchannel("A")


def mask_levels(data: bytes) -> Image.Image:
    """The grey levels of a mask's file: its red channel, as in the reference."""
    return split_alpha(data)[0].getchannel("R")


def scale_mask(mask: Image.Image, size: Size) -> Image.Image:
    """The mask in a picture's scaled size, by area averages where it shrinks, else by Lanczos (the reference's way)."""
    if mask.size == size:
        return mask
    shrinks = mask.width >= size.width and mask.height >= size.height
    return mask.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.LANCZOS)

"""Mask images beside a folder of images: each has the name of the image it belongs to."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from sweeplora.data.dataset import Mask
from sweeplora.data.decode import SUFFIXES, Verdicts
from sweeplora.data.listing import Found, judged, names_below, suffix
from sweeplora.errors import UserError


def find_masks(key: str, folder: Path, found: list[Found], verdicts: Verdicts) -> list[Mask]:
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

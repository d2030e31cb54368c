"""Reads one folder of a data set: its images, their buckets and masks, and what of them is worth a notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sweeplora.data.buckets import BucketGrid, Placement, place
from sweeplora.data.caption_files import CaptionSource
from sweeplora.data.dataset import Mask, Picture, Treatment
from sweeplora.data.listing import FoundImage, read_folder, repeats_of
from sweeplora.data.masks import FoundMask, find_masks, hides_all
from sweeplora.data.notices import counted, shown
from sweeplora.data.source_folder import SourceFolder
from sweeplora.data.subset import SubsetOptions
from sweeplora.data.verdicts import Box, ImageVerdicts
from sweeplora.errors import UserError

_LEAST_KEPT = 0.5  # share of a scaled image that its bucket shows
_MOST_ENLARGED = 4
_VALIDATION = "data.val_dir"


class ReadFolder(NamedTuple):
    """The images of a folder, ordered by name, and notices about them."""

    pictures: list[Picture]
    notices: list[str]


@dataclass(frozen=True)
class FolderReader:
    """Reads folders for a model whose images have sides in multiples of `divisor`, by default `resolution` pixels."""

    divisor: int
    resolution: int
    verdicts: ImageVerdicts

    def read(self, source: SourceFolder) -> ReadFolder:
        """The images of a folder. Raises UserError for the first thing that is wrong."""
        options = source.options
        grid = options.grid(self.divisor, self.resolution, source.owner)
        found = read_folder(source.key, source.path, captions_of(options), self.verdicts)
        placed = [_placed(one, grid, source) for one in found.images]
        masks, mask_notices = self._masks(source, found.images)
        treatment = Treatment(options.rules, options.flip, options.color, options.random_crop, source.is_reg)
        pictures = [
            picture_of(one, where, options.repeats, treatment, mask and mask.mask)
            for one, where, mask in zip(found.images, placed, masks, strict=True)
        ]
        boxes = [mask.lit if mask else one.opaque for one, mask in zip(found.images, masks, strict=True)]
        notices = [
            *found.notices,
            *repeats_notice(source),
            *resolution_notice(source, grid, self.resolution),
            *size_notices(pictures),
            *mask_notices,
            *_blank_notices(source, pictures, boxes),
        ]
        return ReadFolder(pictures, [f"{source.key}: {notice}" for notice in notices])

    def _masks(
        self, source: SourceFolder, found: Sequence[FoundImage]
    ) -> tuple[Sequence[FoundMask] | Sequence[None], list[str]]:
        if source.options.alpha_mask:
            return [FoundMask(Mask(None, None), one.opaque) for one in found], []
        if source.mask_dir is None:
            return [None] * len(found), []
        return find_masks(f"{source.owner}.mask_dir", Path(source.mask_dir).expanduser(), found, self.verdicts)


def captions_of(options: SubsetOptions) -> CaptionSource:
    """Where the captions of images with these options come from."""
    return CaptionSource(
        extension=options.caption_extension,
        class_tokens=options.class_tokens,
        folder_captions=options.folder_captions,
        may_be_empty=bool(options.caption_prefix or options.caption_suffix),
        every_line=options.wildcards,
    )


def _placed(found: FoundImage, grid: BucketGrid, source: SourceFolder) -> Placement:
    placed = place(*found.size, grid)
    if 0 in placed.bucket:
        size = f"{found.size.width} x {found.size.height}"
        short = f"{shown(found.name)} is {size}, shorter than a step of {grid.step} pixels"
        mend = f"{short}; take it away or let images grow"
        raise UserError(f"{source.owner}.bucket_no_upscale", True, mend)
    return placed


def picture_of(found: FoundImage, placed: Placement, repeats: int, treatment: Treatment, mask: Mask | None) -> Picture:
    """A found image as one of a data set, which repeats all of its images `repeats` times."""
    return Picture(
        path=found.path,
        name=found.name,
        caption=found.caption,
        width=found.size.width,
        height=found.size.height,
        repeats=found.repeats * repeats,
        sha256=found.sha256,
        bucket=placed.bucket,
        scaled=placed.scaled,
        treatment=treatment,
        mask=mask,
        levels=found.levels,
    )


def repeats_notice(source: SourceFolder) -> list[str]:
    """A folder `N_name` repeats below a data folder, as in sd-scripts, and not where it is the data folder itself."""
    name = source.path.name
    repeats = repeats_of(name)
    if source.key == _VALIDATION or repeats is None or repeats < 2 or source.options.repeats > 1:
        return []
    mend = f"give the folder above it or {source.owner}.repeats={repeats} to repeat them"
    return [f"the images of {shown(name)} count once, because it is given itself; {mend}"]


def resolution_notice(source: SourceFolder, grid: BucketGrid, default_resolution: int) -> list[str]:
    """A line on a resolution with sides that no bucket has."""
    asked = source.options.area(default_resolution)
    if all(side % grid.step == 0 for side in asked) or not grid.sizes:
        return []
    largest = max(grid.sizes, key=lambda size: (size.width * size.height, -abs(size.width - size.height)))
    sides = f"{asked.width} x {asked.height} pixels are no multiple of the buckets' step of {grid.step}"
    return [f"{sides}; the largest bucket is {largest.width} x {largest.height}"]


def size_notices(pictures: Sequence[Picture]) -> list[str]:
    """Lines on images that are cropped or enlarged a lot."""
    cut = [_sizes(one) for one in pictures if _share_kept(one) < _LEAST_KEPT]
    enlarged = [_sizes(one) for one in pictures if one.scaled.width > _MOST_ENLARGED * one.width]
    loses = "more than half of the area to the crop of the bucket"
    factor = f"enlarged more than {_MOST_ENLARGED} times"
    return [
        *counted(cut, f"image loses {loses}", f"images lose {loses}"),
        *counted(enlarged, f"image is {factor}", f"images are {factor}"),
    ]


def _share_kept(picture: Picture) -> float:
    return picture.bucket.width * picture.bucket.height / (picture.scaled.width * picture.scaled.height)


def _sizes(picture: Picture) -> str:
    return f"{picture.name} ({picture.width} x {picture.height} in {picture.bucket.width} x {picture.bucket.height})"


def _blank_notices(source: SourceFolder, pictures: Sequence[Picture], boxes: Sequence[Box | None]) -> list[str]:
    """Images of which nothing is seen or counts; `boxes` are around what does.

    Raises UserError where masks hide every training image.
    """
    pairs = list(zip(pictures, boxes, strict=True))
    clear = [one.name for one, box in pairs if one.mask is None and box is None]
    hidden = [one.name for one, box in pairs if one.mask is not None and hides_all(one, box)]
    if len(hidden) == len(pictures) and source.key != _VALIDATION:
        key, value = ("alpha_mask", "true") if source.mask_dir is None else ("mask_dir", source.mask_dir)
        mend = "the masks hide every image whole, so nothing would be trained; white counts, black does not"
        raise UserError(f"{source.owner}.{key}", value, mend)
    see_through = "wholly transparent and trained as white"
    return [
        *counted(clear, f"image is {see_through}", f"images are {see_through}"),
        *counted(hidden, "image is hidden by its mask as a whole", "images are hidden by their masks as a whole"),
    ]

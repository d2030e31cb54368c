"""Folders of images with captions beside them, as the configuration names them, read into a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Lt

from sweeplora.data.buckets import BucketGrid, Size, place
from sweeplora.data.dataset import Dataset, Mask, Picture, Treatment
from sweeplora.data.decode import ImageVerdicts
from sweeplora.data.listing import CaptionSource, FoundImage, read_folder
from sweeplora.data.masks import find_masks
from sweeplora.data.split import balanced, refuse_shared, split
from sweeplora.data.subset import SubsetOptions, Text, random_key, refuse_idle, refuse_wrong, subset_of
from sweeplora.errors import UserError


class SourceFolder(NamedTuple):
    """One folder to read: the key that names it, the dotted name of what says how, and that itself.

    `mask_dir` holds masks of the images of data.dir or of a subset alone.
    """

    key: str
    dir: str
    owner: str
    part: SubsetOptions
    mask_dir: str | None = None
    is_reg: bool = False


@dataclass(frozen=True)
class Folder(SubsetOptions):
    """Images with same-stem caption files; conf/data/folder.yaml explains every key."""

    name: Text
    dir: Text | None
    subsets: list[dict[str, Any]] | None
    val_dir: Text | None
    val_split: Annotated[float, Ge(0), Lt(1)]
    validation_seed: int
    reg_dir: Text | None
    prior_loss_weight: Annotated[float, Ge(0)]
    weighted_captions: bool
    cache_text: bool | None
    cache_latents: bool | None
    latents: Literal["resample", "frozen"]
    vae_batch_size: Annotated[int, Ge(1)]
    workers: Annotated[int, Ge(0)]

    def __post_init__(self) -> None:
        """Refuse what cannot work, and combinations in which one key would have no effect."""
        if (self.dir is None) == (self.subsets is None):
            mend = "data.subsets is given too; keep one" if self.dir else "give data.dir=/folder/of/images"
            raise UserError("data.dir", "null" if self.dir is None else self.dir, mend)
        if self.val_dir is not None and self.val_split > 0:
            raise UserError("data.val_split", self.val_split, "data.val_dir is given too; keep one")
        sources = self.sources()
        if all(source.is_reg for source in sources):
            raise UserError("data.subsets", len(sources), "there is none to train on without is_reg; add one")
        if self.prior_loss_weight != 1 and not any(source.is_reg for source in sources):
            mend = "has no effect without data.reg_dir or a subset with is_reg=true; set it to 1"
            raise UserError("data.prior_loss_weight", self.prior_loss_weight, mend)
        for source in sources:
            refuse_wrong(source.part, source.owner)
        given: dict[str, Mapping[str, Any]] = {self._owner(i): one for i, one in enumerate(self.subsets or ())}
        refuse_idle("data", self, {one.owner: (one.part, given.get(one.owner, {})) for one in sources})
        self._refuse_uncachable(sources)

    def sources(self) -> list[SourceFolder]:
        """The folders that are trained on. Raises UserError for a subset that is not one."""
        found = [SourceFolder("data.dir", self.dir, "data", self, self.mask_dir)] if self.dir is not None else []
        for number, given in enumerate(self.subsets or ()):
            owner = self._owner(number)
            subset = subset_of(self, given, owner)
            found.append(SourceFolder(f"{owner}.dir", subset.dir, owner, subset, subset.mask_dir, subset.is_reg))
        if self.reg_dir is not None:
            found.append(SourceFolder("data.reg_dir", self.reg_dir, "data", self, is_reg=True))
        return found

    def read(self, divisor: int, default_resolution: int, cache: Path | None = None) -> Dataset:
        """Read the folders; `divisor` and `default_resolution` (pixels) are the model's.

        `cache` is `runs/cache/`, where hashes and verdicts on images are remembered. Raises UserError for the
        first thing that is wrong.
        """
        reader = FolderReader(divisor, default_resolution, ImageVerdicts(cache))
        sources = self.sources()
        trained = [picture for source in sources if not source.is_reg for picture in reader.pictures(source)]
        regular = [picture for source in sources if source.is_reg for picture in reader.pictures(source)]
        if self.val_dir is None:
            barred = frozenset(picture.sha256 for picture in regular)
            train, held_out = split(trained, self.val_split, self.validation_seed, barred)
        else:
            train, held_out = trained, reader.pictures(SourceFolder("data.val_dir", self.val_dir, "data", self))
            refuse_shared([*train, *regular], held_out, self.val_dir)
        train += balanced(regular, sum(picture.repeats for picture in train))
        return Dataset(
            name=self.name,
            train=tuple(train),
            validation=tuple(replace(picture, repeats=1) for picture in held_out),
            cache_text=self.cache_text,
            cache_latents=self.cache_latents,
            frozen_latents=self.latents == "frozen",
            weighted_captions=self.weighted_captions,
            prior_loss_weight=self.prior_loss_weight,
            validation_seed=self.validation_seed,
            resolution=self.area(default_resolution),
            workers=self.workers,
            vae_batch_size=self.vae_batch_size,
        )

    def _owner(self, number: int) -> str:
        return f"data.subsets[{number}]"

    def _refuse_uncachable(self, sources: list[SourceFolder]) -> None:
        """Refuse to keep what changes from step to step."""
        for source in sources:
            moving = next((key for key in ("color", "random_crop") if getattr(source.part, key)), None)
            if moving is not None and self.cache_latents:
                mend = f"{source.owner}.{moving}=true changes images before they are encoded; set it to null"
                raise UserError("data.cache_latents", True, mend)
            if moving is not None and self.latents == "frozen":
                mend = f"{source.owner}.{moving}=true encodes images anew at every step; take resample"
                raise UserError("data.latents", self.latents, mend)
            key = random_key(source.part)
            if key is not None and self.cache_text:
                raise UserError("data.cache_text", True, f"{source.owner}.{key} changes captions; set it to null")
        if self.cache_latents is False and self.latents == "frozen":
            mend = "data.cache_latents=false encodes images anew at every step; take resample"
            raise UserError("data.latents", self.latents, mend)


@dataclass(frozen=True)
class FolderReader:
    """Reads folders for a model whose images have sides in multiples of `divisor`, by default `resolution` pixels."""

    divisor: int
    resolution: int
    verdicts: ImageVerdicts

    def pictures(self, source: SourceFolder) -> list[Picture]:
        """The images of a folder, ordered by name. Raises UserError for the first thing that is wrong."""
        part = source.part
        grid = part.grid(self.divisor, self.resolution, source.owner)
        found = read_folder(source.key, Path(source.dir).expanduser(), _captions(part), self.verdicts)
        masks = self._masks(source, found)
        rules = part.rules
        treatment = Treatment(rules, part.flip, part.color, part.random_crop, source.is_reg)
        return [
            _picture(one, _placed(one, grid, source), part.repeats, treatment, mask)
            for one, mask in zip(found, masks, strict=True)
        ]

    def _masks(self, source: SourceFolder, found: list[FoundImage]) -> list[Mask] | list[None]:
        if source.part.alpha_mask:
            return [Mask(None, None)] * len(found)
        if source.mask_dir is None:
            return [None] * len(found)
        folder = Path(source.mask_dir).expanduser()
        return find_masks(f"{source.owner}.mask_dir", folder, found, self.verdicts)


def _captions(part: SubsetOptions) -> CaptionSource:
    may_be_empty = bool(part.caption_prefix or part.caption_suffix)
    return CaptionSource(part.caption_extension, part.class_tokens, part.folder_captions, may_be_empty)


def _placed(found: FoundImage, grid: BucketGrid, source: SourceFolder) -> tuple[Size, Size]:
    placed = place(*found.size, grid)
    if 0 in placed.bucket:
        size = f"{found.size.width} x {found.size.height}"
        mend = f"{found.name} is {size}, shorter than a step of {grid.step} pixels; take it away or let images grow"
        raise UserError(f"{source.owner}.bucket_no_upscale", True, mend)
    return placed


def _picture(
    found: FoundImage, placed: tuple[Size, Size], repeats: int, treatment: Treatment, mask: Mask | None
) -> Picture:
    return Picture(
        path=found.path,
        name=found.name,
        caption=found.caption,
        width=found.size.width,
        height=found.size.height,
        repeats=found.repeats * repeats,
        sha256=found.sha256,
        bucket=placed[0],
        scaled=placed[1],
        treatment=treatment,
        mask=mask,
    )

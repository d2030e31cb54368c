"""A data set made of folders of images with caption files beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from sweeplora.content import state_of_files
from sweeplora.data.dataset import Dataset, Picture
from sweeplora.data.listing import names_below
from sweeplora.data.notices import counted
from sweeplora.data.reader import FolderReader
from sweeplora.data.source_folder import SourceFolder, refuse_overlaps
from sweeplora.data.split import balanced, refuse_shared, split
from sweeplora.data.subset import NonEmpty, SubsetOptions, random_key, refuse_without_effect, refuse_wrong, subset_of
from sweeplora.data.verdicts import ImageVerdicts
from sweeplora.errors import UserError

_MOST_IMAGES = 10_000_000


@dataclass(frozen=True)
class Folder(SubsetOptions):
    """Images with same-stem caption files; conf/data/folder.yaml explains every key."""

    name: NonEmpty
    dir: NonEmpty | None
    subsets: list[dict[str, Any]] | None
    val_dir: NonEmpty | None
    val_split: Annotated[float, Ge(0), Lt(1)]
    validation_seed: int
    reg_dir: NonEmpty | None
    prior_loss_weight: Annotated[float, Ge(0)]
    weighted_captions: bool
    cache_text: bool | None
    cache_latents: bool | None
    latents: Literal["resample", "frozen"]
    vae_batch_size: Annotated[int, Ge(1)]
    workers: Annotated[int, Ge(0)]

    def __post_init__(self) -> None:
        """Refuse what cannot work, and options that would have no effect."""
        if (self.dir is None) == (self.subsets is None):
            mend = "data.subsets is given too; keep one" if self.dir else "give data.dir=/folder/of/images"
            raise UserError("data.dir", "null" if self.dir is None else self.dir, mend)
        if self.val_dir is not None and self.val_split > 0:
            raise UserError("data.val_split", self.val_split, "data.val_dir is given too; keep one")
        sources = self.sources()
        if all(source.is_reg for source in sources):
            raise UserError("data.subsets", len(sources), "there is no subset to train on; add one without is_reg")
        if self.prior_loss_weight != 1 and not any(source.is_reg for source in sources):
            mend = "has no effect without data.reg_dir or a subset with is_reg=true; set it to 1"
            raise UserError("data.prior_loss_weight", self.prior_loss_weight, mend)
        for source in sources:
            refuse_wrong(source.options, source.owner)
        given: dict[str, Mapping[str, Any]] = {self._owner(i): one for i, one in enumerate(self.subsets or ())}
        refuse_without_effect("data", self, {one.owner: (one.options, given.get(one.owner, {})) for one in sources})
        self._refuse_uncachable(sources)

    def sources(self) -> list[SourceFolder]:
        """The folders to train on. Raises UserError for a faulty subset."""
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

        `cache` is `runs/cache/`, which remembers hashes and verdicts on images. Raises UserError for the first thing
        that is wrong.
        """
        sources = self.sources()
        refuse_overlaps(sources, self.val_dir)
        reader = FolderReader(divisor, default_resolution, ImageVerdicts(cache))
        folders = [(source, reader.read(source)) for source in sources]
        notices = [notice for _, folder in folders for notice in folder.notices]
        trained = [picture for source, folder in folders if not source.is_reg for picture in folder.pictures]
        regular = [picture for source, folder in folders if source.is_reg for picture in folder.pictures]
        if self.val_dir is None:
            barred = frozenset(name for picture in regular for name in (picture.sha256, picture.levels))
            train, held_out = split(trained, self.val_split, self.validation_seed, barred)
        else:
            held_out, more = reader.read(SourceFolder("data.val_dir", self.val_dir, "data", self))
            notices += more
            train = trained
            refuse_shared([*train, *regular], held_out, self.val_dir)
        count = sum(picture.repeats for picture in train)
        if count > _MOST_IMAGES:
            raise UserError("data.repeats", self.repeats, f"an epoch has {count:,} images, more than {_MOST_IMAGES:,}")
        notices += _in_both_roles(trained, regular)
        balance = balanced(regular, count)
        if len(balance) < len(regular):
            unused = f"{len(regular) - len(balance)} of {len(regular)} regularisation images are not used"
            notices.append(f"{unused}: an epoch has {count} training images, and takes as many of those")
        return Dataset(
            name=self.name,
            train=(*train, *balance),
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
            notices=tuple(notices),
        )

    def state(self) -> str:
        """Text that is another one once a visible file in the folders was added, removed or written.

        Raises UserError for a folder that cannot be read.
        """
        sources = self.sources()
        folders = [(source.key, source.path) for source in sources]
        folders += [(f"{one.owner}.mask_dir", Path(one.mask_dir).expanduser()) for one in sources if one.mask_dir]
        folders += [("data.val_dir", Path(self.val_dir).expanduser())] if self.val_dir else []
        found = (folder / name for key, folder in folders for name in names_below(key, folder, "images"))
        return state_of_files(found)

    def _owner(self, number: int) -> str:
        return f"data.subsets[{number}]"

    def _refuse_uncachable(self, sources: list[SourceFolder]) -> None:
        """Refuse to cache what changes from step to step."""
        for source in sources:
            moving = next((key for key in ("color", "random_crop") if getattr(source.options, key)), None)
            if moving is not None and self.cache_latents:
                mend = f"{source.owner}.{moving}=true changes images before they are encoded; set it to null"
                raise UserError("data.cache_latents", True, mend)
            if moving is not None and self.latents == "frozen":
                mend = f"{source.owner}.{moving}=true encodes images anew at every step; take resample"
                raise UserError("data.latents", self.latents, mend)
            key = random_key(source.options)
            if key is not None and self.cache_text:
                raise UserError("data.cache_text", True, f"{source.owner}.{key} changes captions; set it to null")
        if self.cache_latents is False and self.latents == "frozen":
            mend = "data.cache_latents=false encodes images anew at every step; take resample"
            raise UserError("data.latents", self.latents, mend)


def _in_both_roles(trained: Sequence[Picture], regular: Sequence[Picture]) -> list[str]:
    """A notice about regularisation images that are training images too."""
    contents = {content for picture in trained for content in (picture.sha256, picture.levels)}
    names = [picture.name for picture in regular if {picture.sha256, picture.levels} & contents]
    return counted(
        names, "regularisation image is a training image too", "regularisation images are training images too"
    )

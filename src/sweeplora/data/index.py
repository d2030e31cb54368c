"""The data set of a run: the images it trains on and is validated on, their buckets and captions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt, MinLen

from sweeplora.data.buckets import Size, bucket_sizes, choose
from sweeplora.data.captions import CaptionRules, is_fixed
from sweeplora.data.images import Verdicts
from sweeplora.data.pictures import Found, read_folder
from sweeplora.data.split import refuse_shared, split
from sweeplora.errors import UserError
from sweeplora.randomness import seed_of


@dataclass(frozen=True)
class Picture:
    """One image of a data set: width and height of the upright file, and the bucket it is scaled and cut to.

    `caption` is the text of the caption file, before any rule; `name` is the path below the data folder.
    """

    path: Path
    name: str
    caption: str
    width: int
    height: int
    repeats: int
    sha256: str
    bucket: Size


@dataclass(frozen=True)
class Dataset:
    """Images in a stable order, by name: an index into `train` or `validation` identifies one for good."""

    name: str
    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]
    rules: CaptionRules
    flip: bool
    cache_text: bool | None
    validation_seed: int
    resolution: int


@dataclass(frozen=True)
class Folder:
    """Images with same-stem caption files; conf/data/folder.yaml explains every key."""

    name: Annotated[str, MinLen(1)]
    dir: Annotated[str, MinLen(1)]
    val_dir: Annotated[str, MinLen(1)] | None
    val_split: Annotated[float, Ge(0), Lt(1)]
    validation_seed: int
    resolution: Annotated[int, Gt(0)] | None
    bucket: bool
    bucket_min: Annotated[int, Gt(0)] | None
    bucket_max: Annotated[int, Gt(0)] | None
    bucket_step: Annotated[int, Gt(0)] | None
    caption_extension: Annotated[str, MinLen(2)]
    caption_prefix: str
    caption_suffix: str
    caption_separator: Annotated[str, MinLen(1)]
    shuffle_caption: bool
    keep_tokens: Annotated[int, Ge(0)]
    caption_dropout: Annotated[float, Ge(0), Le(1)]
    tag_dropout: Annotated[float, Ge(0), Le(1)]
    flip: bool
    cache_text: bool | None

    def __post_init__(self) -> None:
        """Refuse combinations in which one key would have no effect."""
        if self.val_dir is not None and self.val_split > 0:
            raise UserError("data.val_split", self.val_split, "data.val_dir is given too; keep one")
        if not self.caption_extension.startswith(".") or "/" in self.caption_extension:
            raise UserError("data.caption_extension", self.caption_extension, "begin it with a dot: .txt")
        for key in ("bucket_min", "bucket_max", "bucket_step"):
            if not self.bucket and getattr(self, key) is not None:
                raise UserError(f"data.{key}", getattr(self, key), "has no effect with data.bucket=false")
        if not self.shuffle_caption and self.tag_dropout == 0:
            mend = "has no effect without data.shuffle_caption=true or data.tag_dropout; leave it as it was"
            if self.keep_tokens > 0:
                raise UserError("data.keep_tokens", self.keep_tokens, mend)
            if self.caption_separator != ",":
                raise UserError("data.caption_separator", self.caption_separator, mend)
        if self.cache_text and not is_fixed(self.rules):
            raise UserError("data.cache_text", True, f"{_random_key(self)} changes captions; set it to null")

    @property
    def rules(self) -> CaptionRules:
        """The caption rules of all images."""
        return CaptionRules(
            prefix=self.caption_prefix,
            suffix=self.caption_suffix,
            separator=self.caption_separator,
            shuffle=self.shuffle_caption,
            keep_tokens=self.keep_tokens,
            dropout=self.caption_dropout,
            tag_dropout=self.tag_dropout,
        )

    def sizes(self, divisor: int, default_resolution: int) -> list[Size]:
        """The buckets, ascending; `divisor` and `default_resolution` (pixels) are the model's."""
        resolution = self.resolution or default_resolution
        _refuse_remainder("resolution", resolution, divisor, "which the model needs")
        if not self.bucket:
            return [Size(resolution, resolution)]
        step = self.bucket_step or divisor
        _refuse_remainder("bucket_step", step, divisor, "which the model needs")
        shortest = self.bucket_min or max(step, resolution // 2 // step * step)
        longest = self.bucket_max or resolution * 2 // step * step
        _refuse_remainder("bucket_min", shortest, step, "the step of the buckets")
        _refuse_remainder("bucket_max", longest, step, "the step of the buckets")
        for key, value in (("bucket_step", step), ("bucket_min", shortest)):
            if value > resolution:
                raise UserError(f"data.{key}", value, f"must be at most the resolution, {resolution}")
        if longest < resolution:
            raise UserError("data.bucket_max", longest, f"must be at least the resolution, {resolution}")
        return bucket_sizes(resolution, shortest, longest, step)

    def read(self, divisor: int, default_resolution: int, cache: Path | None = None) -> Dataset:
        """Read the folders; `cache` is `runs/cache/`, where hashes and verdicts on images are remembered.

        Raises UserError for the first thing that is wrong.
        """
        sizes = self.sizes(divisor, default_resolution)
        verdicts = Verdicts(cache)
        found = self._found("data.dir", self.dir, verdicts)
        if self.val_dir is None:
            train, held_out = split(found, self.val_split, self.validation_seed)
        else:
            train, held_out = found, self._found("data.val_dir", self.val_dir, verdicts)
            refuse_shared(train, held_out, self.val_dir)
        return Dataset(
            name=self.name,
            train=tuple(_picture(one, one.repeats, sizes) for one in train),
            validation=tuple(_picture(one, 1, sizes) for one in held_out),
            rules=self.rules,
            flip=self.flip,
            cache_text=self.cache_text,
            validation_seed=self.validation_seed,
            resolution=self.resolution or default_resolution,
        )

    def _found(self, key: str, folder: str, verdicts: Verdicts) -> list[Found]:
        blank_captions = bool(self.caption_prefix or self.caption_suffix)
        return read_folder(key, Path(folder).expanduser(), self.caption_extension, blank_captions, verdicts)


def keeps_text(cache_text: bool | None, rules: CaptionRules, trains_text_encoders: bool) -> bool:
    """Whether text encoder outputs are kept: by default whenever they cannot change during the training.

    Raises UserError where `cache_text` asks for it although they do change.
    """
    if cache_text and trains_text_encoders:
        raise UserError("data.cache_text", True, "network.text_encoders=true changes outputs; set it to null")
    if cache_text is None:
        return is_fixed(rules) and not trains_text_encoders
    return cache_text


def probe(dataset: Dataset, count: int) -> tuple[Picture, ...]:
    """At most `count` training images, chosen by `validation_seed` and content, in the set's order."""
    ranked = sorted(dataset.train, key=lambda picture: seed_of(dataset.validation_seed, "probe", picture.sha256))
    chosen = set(ranked[:count])
    return tuple(picture for picture in dataset.train if picture in chosen)


def manifest(dataset: Dataset) -> list[dict[str, Any]]:
    """What went into the run for the record: one entry a file, its size in bytes and in pixels."""
    parts = (("train", dataset.train), ("validation", dataset.validation))
    return [
        {
            "split": split,
            "path": str(picture.path),
            "bytes": picture.path.stat().st_size,
            "sha256": picture.sha256,
            "width": picture.width,
            "height": picture.height,
            "caption": picture.caption,
            "bucket": list(picture.bucket),
            "repeats": picture.repeats,
        }
        for split, pictures in parts
        for picture in pictures
    ]


def content_hash(dataset: Dataset) -> str:
    """Hex sha256 of what the data folders hold, for the signature: names, images, captions and repeats."""
    parts = [
        [[picture.name, picture.sha256, picture.caption, picture.repeats] for picture in pictures]
        for pictures in (dataset.train, dataset.validation)
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _picture(found: Found, repeats: int, sizes: list[Size]) -> Picture:
    width, height = found.size
    bucket = choose(width, height, sizes)
    return Picture(found.path, found.name, found.caption, width, height, repeats, found.sha256, bucket)


def _refuse_remainder(key: str, value: int, divisor: int, whose: str) -> None:
    if value % divisor:
        below = value // divisor * divisor
        near = f"{below} or {below + divisor}" if below else str(divisor)
        raise UserError(f"data.{key}", value, f"must be a multiple of {divisor}, {whose}; take {near}")


def _random_key(folder: Folder) -> str:
    if folder.shuffle_caption:
        return "data.shuffle_caption=true"
    if folder.caption_dropout > 0:
        return f"data.caption_dropout={folder.caption_dropout}"
    return f"data.tag_dropout={folder.tag_dropout}"

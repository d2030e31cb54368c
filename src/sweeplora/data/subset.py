"""The options of a folder of images: every key that a subset may set for itself."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Le, MinLen

from sweeplora.config.nearest import nearest
from sweeplora.data.buckets import BucketGrid, Size, bucket_sizes, default_bounds
from sweeplora.data.captions import CaptionRules
from sweeplora.errors import UserError

NonEmpty = Annotated[str, MinLen(1)]
Pixels = Annotated[int, Gt(0), Le(16384)]
Share = Annotated[float, Ge(0), Le(1)]

_SPLITS = "has no effect without shuffle_caption, tag_dropout or token_warmup_steps beside it; leave it as it was"


@dataclass(frozen=True)
class SubsetOptions:
    """Options of all images of a data set, which each subset may override; conf/data/folder.yaml explains them."""

    repeats: Annotated[int, Ge(1), Le(1_000_000)]
    resolution: Pixels | tuple[Pixels, Pixels] | None
    bucket: bool
    bucket_min: Pixels | None
    bucket_max: Pixels | None
    bucket_step: Pixels | None
    bucket_no_upscale: bool
    random_crop: bool
    flip: bool
    color: bool
    alpha_mask: bool
    mask_dir: NonEmpty | None
    caption_extension: Annotated[str, MinLen(2)]
    class_tokens: NonEmpty | None
    folder_captions: bool
    caption_prefix: str
    caption_suffix: str
    caption_separator: NonEmpty
    secondary_separator: NonEmpty | None
    shuffle_caption: bool
    keep_tokens: Annotated[int, Ge(0)]
    keep_tokens_separator: NonEmpty | None
    caption_dropout: Share
    caption_dropout_every_epochs: Annotated[int, Ge(0)]
    tag_dropout: Share
    wildcards: bool
    token_warmup_min: Annotated[int, Ge(0)]
    token_warmup_steps: Annotated[float, Ge(0)]
    replacements: dict[str, str | list[str]] | None

    @property
    def rules(self) -> CaptionRules:
        """The rules for the captions of these images."""
        splits = self.shuffle_caption or self.tag_dropout > 0 or self.token_warmup_steps > 0
        several = {old: new if isinstance(new, list) else [new] for old, new in (self.replacements or {}).items()}
        return CaptionRules(
            prefix=self.caption_prefix,
            suffix=self.caption_suffix,
            separator=self.caption_separator,
            secondary_separator=self.secondary_separator,
            shuffle=self.shuffle_caption,
            keep_tokens=self.keep_tokens if splits else 0,
            keep_tokens_separator=self.keep_tokens_separator if splits else None,
            dropout=self.caption_dropout,
            dropout_every_epochs=self.caption_dropout_every_epochs,
            tag_dropout=self.tag_dropout,
            wildcards=self.wildcards,
            warmup_min=self.token_warmup_min,
            warmup_steps=self.token_warmup_steps,
            replacements=tuple((old, tuple(new)) for old, new in several.items()),
        )

    def area(self, default_resolution: int) -> Size:
        """Width and height whose area the buckets keep, or the only size without buckets (pixels)."""
        if isinstance(self.resolution, list | tuple):
            return Size(*self.resolution)
        side = self.resolution or default_resolution
        return Size(side, side)

    def grid(self, divisor: int, default_resolution: int, prefix: str) -> BucketGrid:
        """The buckets; `divisor` and `default_resolution` (pixels) are the model's, `prefix` is the keys' owner.

        Raises UserError for sizes that do not fit together.
        """
        resolution = self.area(default_resolution)
        area = resolution.width * resolution.height
        if not self.bucket:
            for side in resolution:
                _refuse_remainder(f"{prefix}.resolution", side, divisor, "which the model needs")
            return BucketGrid((resolution,), area, divisor)
        step = self.bucket_step or divisor
        _refuse_remainder(f"{prefix}.bucket_step", step, divisor, "which the model needs")
        if step > min(resolution):
            raise UserError(f"{prefix}.bucket_step", step, f"must be at most the resolution, {min(resolution)}")
        if self.bucket_no_upscale:
            return BucketGrid((), area, step)
        shortest, longest = self._bounds(resolution, step, prefix)
        return BucketGrid(tuple(bucket_sizes(resolution, shortest, longest, step)), area, step)

    def _bounds(self, resolution: Size, step: int, prefix: str) -> tuple[int, int]:
        usual = default_bounds(resolution, step)
        shortest, longest = self.bucket_min or usual[0], self.bucket_max or usual[1]
        _refuse_remainder(f"{prefix}.bucket_min", shortest, step, "the step of the buckets")
        _refuse_remainder(f"{prefix}.bucket_max", longest, step, "the step of the buckets")
        if shortest > min(resolution):
            raise UserError(f"{prefix}.bucket_min", shortest, f"must be at most the resolution, {min(resolution)}")
        if longest < max(resolution):
            raise UserError(f"{prefix}.bucket_max", longest, f"must be at least the resolution, {max(resolution)}")
        return shortest, longest


@dataclass(frozen=True)
class Subset(SubsetOptions):
    """One of several folders of a data set; `is_reg` marks regularisation images."""

    dir: NonEmpty
    is_reg: bool


def subset_of(options: SubsetOptions, given: Mapping[str, Any], key: str) -> Subset:
    """A subset with its own options `given`, and those of the data set for the rest; `key` is its dotted name.

    Raises UserError for an unknown key and for a value of the wrong kind.
    """
    from sweeplora.config.binding import check_value

    types = _types()
    for name, value in given.items():
        if name not in types:
            raise UserError(f"{key}.{name}", value, f"a subset has no {name}; {nearest(name, list(types))}")
        check_value(f"{key}.{name}", value, types[name])
    if "dir" not in given:
        raise UserError(f"{key}.dir", None, "a subset needs its folder of images")
    shared = {field.name: getattr(options, field.name) for field in fields(SubsetOptions)}
    return Subset(**{**shared, "is_reg": False, **given})


def refuse_wrong(options: SubsetOptions, prefix: str) -> None:
    """Raise UserError for wrong values and for values that exclude each other."""
    if not options.caption_extension.startswith(".") or "/" in options.caption_extension:
        raise UserError(f"{prefix}.caption_extension", options.caption_extension, "begin it with a dot: .txt")
    if options.alpha_mask and options.mask_dir is not None:
        raise UserError(f"{prefix}.mask_dir", options.mask_dir, f"{prefix}.alpha_mask=true is a mask too; keep one")
    for old, new in (options.replacements or {}).items():
        if not new and isinstance(new, list):
            mend = "an empty list has no replacement; write '' to remove the text"
            raise UserError(f"{prefix}.replacements", old, mend)


def without_effect(options: SubsetOptions) -> Iterator[tuple[str, Any, str]]:
    """Options that are set but have no effect beside the others: name, value and mend."""
    bounds = ("bucket_min", "bucket_max")
    for name in (*bounds, "bucket_step"):
        if getattr(options, name) is not None and not options.bucket:
            yield name, getattr(options, name), "has no effect with bucket=false; set it to null"
        elif getattr(options, name) is not None and options.bucket_no_upscale and name in bounds:
            yield name, getattr(options, name), "has no effect with bucket_no_upscale=true; set it to null"
    if options.bucket_no_upscale and not options.bucket:
        yield "bucket_no_upscale", True, "has no effect with bucket=false; set it to false"
    if not options.rules.splits:
        if options.keep_tokens > 0:
            yield "keep_tokens", options.keep_tokens, _SPLITS
        if options.keep_tokens_separator is not None:
            yield "keep_tokens_separator", options.keep_tokens_separator, _SPLITS
        if options.caption_separator != "," and options.secondary_separator is None:
            yield "caption_separator", options.caption_separator, _SPLITS
    if options.token_warmup_min != 1 and options.token_warmup_steps == 0:
        yield "token_warmup_min", options.token_warmup_min, "has no effect without token_warmup_steps; set it to 1"


def refuse_without_effect(
    prefix: str, group: SubsetOptions, subsets: Mapping[str, tuple[SubsetOptions, Mapping[str, Any]]]
) -> None:
    """Raise UserError for an option without effect: in the subset that sets it, or for the data set in all subsets.

    `subsets` holds the options of each by dotted name, and what it sets itself.
    """
    useless = {
        name: {key: (value, mend) for key, value, mend in without_effect(options)}
        for name, (options, _) in subsets.items()
    }
    for name, (_, given) in subsets.items():
        for key, (value, mend) in useless[name].items():
            if key in given:
                raise UserError(f"{name}.{key}", value, mend)
    for key, value, mend in without_effect(group):
        if all(key in found for found in useless.values()):
            raise UserError(f"{prefix}.{key}", value, mend)


def random_key(options: SubsetOptions) -> str | None:
    """The first option that makes captions change from step to step, with its value; None where captions are fixed."""
    several = any(isinstance(new, list) and len(new) > 1 for new in (options.replacements or {}).values())
    randoms = {
        "shuffle_caption": options.shuffle_caption,
        "caption_dropout": options.caption_dropout,
        "caption_dropout_every_epochs": options.caption_dropout_every_epochs,
        "tag_dropout": options.tag_dropout,
        "token_warmup_steps": options.token_warmup_steps,
        "wildcards": options.wildcards,
        "replacements": options.replacements if several else None,
    }
    return next((f"{key}={json.dumps(value)}" for key, value in randoms.items() if value), None)


@functools.cache
def _types() -> dict[str, Any]:
    return get_type_hints(Subset, include_extras=True)


def _refuse_remainder(key: str, value: int, divisor: int, whose: str) -> None:
    if value % divisor:
        below = value // divisor * divisor
        near = f"{below} or {below + divisor}" if below else str(divisor)
        raise UserError(key, value, f"must be a multiple of {divisor}, {whose}; take {near}")

"""How images are processed: the options of a flag, a dataset or a subset, as keys of the group `data`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeplora.convert.reading.dataset_schema import BUCKETS, Value
from sweeplora.errors import UserError

SAME = {
    "num_repeats": "repeats",
    "class_tokens": "class_tokens",
    "caption_prefix": "caption_prefix",
    "caption_suffix": "caption_suffix",
    "caption_separator": "caption_separator",
    "secondary_separator": "secondary_separator",
    "shuffle_caption": "shuffle_caption",
    "keep_tokens": "keep_tokens",
    "keep_tokens_separator": "keep_tokens_separator",
    "enable_wildcard": "wildcards",
    "caption_dropout_rate": "caption_dropout",
    "caption_dropout_every_n_epochs": "caption_dropout_every_epochs",
    "caption_tag_dropout_rate": "tag_dropout",
    "token_warmup_min": "token_warmup_min",
    "token_warmup_step": "token_warmup_steps",
    "color_aug": "color",
    "flip_aug": "flip",
    "random_crop": "random_crop",
    "alpha_mask": "alpha_mask",
    "conditioning_data_dir": "mask_dir",
}
"""Options that keep their value; by default both sides mean the same."""

NO_USE = {
    "cache_info": "sweeplora always remembers the sizes and hashes of images",
    "custom_attributes": "neither training script reads it",
    "network_multiplier": "neither training script reads it",
}
NOT_HERE = {
    "face_crop_aug_range": "cropping around faces is not supported",
    "resize_interpolation": "sweeplora always resizes with Lanczos; sd-scripts shrinks by area unless this is given",
}


class Treated(NamedTuple):
    """Our keys with their values and sources, and options without effect with the reason."""

    keys: dict[str, Value]
    no_effect: dict[str, str]


def treated(options: Mapping[str, Value], said: frozenset[str]) -> Treated:
    """One subset's options as our keys; `said` are those given explicitly, the rest equals sweeplora's defaults."""
    found = Treated({}, {})
    _sizes(options, found)
    _buckets(options, found)
    extension, source = options["caption_extension"]
    found.keys["caption_extension"] = (extension if extension.startswith(".") else f".{extension}", source)
    found.keys.update({key: options[option] for option, key in SAME.items() if option in said})
    _captions(options, found)
    return found


def sides(resolution: Any) -> int | list[int]:
    """`1024`, `"1024"`, `"1024,768"` or `[1024, 768]` as one side, or as width and height. Raises UserError."""
    words = resolution if isinstance(resolution, list | tuple) else str(resolution).split(",")
    try:
        numbers = [int(word) for word in words]
    except ValueError as error:
        raise UserError("--resolution", resolution, "give a side, or width,height, in pixels") from error
    if len(numbers) not in (1, 2):
        raise UserError("--resolution", resolution, "give a side, or width,height, in pixels")
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _sizes(options: Mapping[str, Value], found: Treated) -> None:
    resolution, source = options["resolution"]
    if resolution is None:
        raise UserError("--resolution", "", "is not given, and sd-scripts needs it")
    found.keys["resolution"] = (sides(resolution), source)


def _buckets(options: Mapping[str, Value], found: Treated) -> None:
    on = bool(options["enable_bucket"][0])
    found.keys["bucket"] = (on, options["enable_bucket"][1])
    if not on:
        found.no_effect.update(dict.fromkeys(BUCKETS, "there are no buckets without enable_bucket"))
        return
    step, source = options["bucket_reso_steps"]
    if step < 1:
        raise UserError("--bucket_reso_steps", step, "give a number of pixels, 64 by default")
    found.keys["bucket_step"] = (step, source)
    if options["bucket_no_upscale"][0]:
        found.keys["bucket_no_upscale"] = (True, options["bucket_no_upscale"][1])
        why = "with bucket_no_upscale the images' own sizes make the buckets"
        found.no_effect.update(dict.fromkeys(("min_bucket_reso", "max_bucket_reso"), why))
        return
    least, least_source = options["min_bucket_reso"]
    most, most_source = options["max_bucket_reso"]
    found.keys["bucket_min"] = (least // step * step, least_source)
    found.keys["bucket_max"] = (-(-most // step) * step, most_source)


def _captions(options: Mapping[str, Value], found: Treated) -> None:
    """Leave out options that can have no effect, which sweeplora would refuse."""
    splits = any(options[name][0] for name in ("shuffle_caption", "caption_tag_dropout_rate", "token_warmup_step"))
    why = "captions are not split without shuffle_caption, caption_tag_dropout_rate or token_warmup_step"
    useless = {} if splits else {"keep_tokens": why, "keep_tokens_separator": why}
    if not splits and not options["secondary_separator"][0]:
        useless["caption_separator"] = why
    if not options["token_warmup_step"][0]:
        useless["token_warmup_min"] = "there is no token_warmup_step"
    found.no_effect.update(useless)
    for option in useless:
        found.keys.pop(SAME[option], None)
    for option in ("keep_tokens_separator", "secondary_separator", "class_tokens", "conditioning_data_dir"):
        if found.keys.get(SAME[option], ("", ""))[0] == "" and SAME[option] in found.keys:
            del found.keys[SAME[option]]
            found.no_effect[option] = "an empty text is the default"

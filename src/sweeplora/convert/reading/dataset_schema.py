"""sd-scripts' schema of a `--dataset_config`: which table accepts which option, and its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["true or false", "a whole number", "a decimal number", "a number", "text", "a table", "size", "two"]
"""Types as a user reads them; `size` is a side or [width, height], `two` is two numbers with a point."""

_SWITCH: Kind = "true or false"
_WHOLE: Kind = "a whole number"

DATASET_ONLY: Mapping[str, Kind] = {
    "batch_size": _WHOLE,
    "resolution": "size",
    "enable_bucket": _SWITCH,
    "min_bucket_reso": _WHOLE,
    "max_bucket_reso": _WHOLE,
    "bucket_reso_steps": _WHOLE,
    "bucket_no_upscale": _SWITCH,
    "validation_seed": _WHOLE,
    "validation_split": "a decimal number",
    "network_multiplier": "a decimal number",
}
"""Options of [general] and [[datasets]]."""

ANYWHERE: Mapping[str, Kind] = {
    "num_repeats": _WHOLE,
    "class_tokens": "text",
    "caption_extension": "text",
    "caption_prefix": "text",
    "caption_suffix": "text",
    "caption_separator": "text",
    "secondary_separator": "text",
    "shuffle_caption": _SWITCH,
    "keep_tokens": _WHOLE,
    "keep_tokens_separator": "text",
    "enable_wildcard": _SWITCH,
    "caption_dropout_rate": "a number",
    "caption_dropout_every_n_epochs": _WHOLE,
    "caption_tag_dropout_rate": "a number",
    "token_warmup_min": _WHOLE,
    "token_warmup_step": "a number",
    "color_aug": _SWITCH,
    "flip_aug": _SWITCH,
    "random_crop": _SWITCH,
    "face_crop_aug_range": "two",
    "resize_interpolation": "text",
    "cache_info": _SWITCH,
    "custom_attributes": "a table",
}
"""Options of [general], [[datasets]] and [[datasets.subsets]]."""

SUBSET_ONLY: Mapping[str, Kind] = {
    "image_dir": "text",
    "is_reg": _SWITCH,
    "alpha_mask": _SWITCH,
    "conditioning_data_dir": "text",
    "metadata_file": "text",
}
"""Options of [[datasets.subsets]]."""

BUCKETS = ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale")
FLAG_OF = {"num_repeats": "dataset_repeats", "batch_size": "train_batch_size"}
"""Options whose flag has another name."""
NOT_OF_IMAGES = ("cache_info", "custom_attributes", "network_multiplier", "face_crop_aug_range", "resize_interpolation")
"""Options that no key of the group `data` stands for."""
DATASET_WIDE = ("batch_size", "validation_seed", "validation_split")
"""Options of a whole dataset, of which there is one here."""
OF_IMAGES = tuple(
    option
    for option in (*DATASET_ONLY, *ANYWHERE, "alpha_mask", "conditioning_data_dir")
    if option not in (*NOT_OF_IMAGES, *DATASET_WIDE)
)
"""Options of how a subset's images and captions are treated."""

Value = tuple[Any, str]
"""An option's value and where it was said."""


def wanted(kind: Kind) -> str:
    """The type as worded in messages."""
    sizes = {"size": "a whole number or two, [width, height]", "two": "two decimal numbers, [1.0, 2.0]"}
    return sizes.get(kind, kind)


def fits(value: Any, kind: Kind) -> bool:
    """Whether a value of the file has the type that the schema requires."""
    match kind:
        case "true or false":
            return isinstance(value, bool)
        case "a whole number":
            return _whole(value)
        case "a decimal number":
            return isinstance(value, float)
        case "a number":
            return isinstance(value, float) or _whole(value)
        case "text":
            return isinstance(value, str)
        case "a table":
            return isinstance(value, dict)
        case "size":
            return _whole(value) or (_pair(value) and all(_whole(one) for one in value))
        case "two":
            return _pair(value) and all(isinstance(one, float) for one in value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2

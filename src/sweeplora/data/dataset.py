"""The data set of a run: the images for training and validation with their buckets, captions and treatment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sweeplora.data.buckets import Size
from sweeplora.data.captions import CaptionRules, is_fixed, plain
from sweeplora.errors import UserError


@dataclass(frozen=True)
class Treatment:
    """What is done to the images of one subset; all of them share one object.

    `is_reg` marks regularisation images, whose loss is weighted by the data set's prior_loss_weight.
    """

    rules: CaptionRules
    flip: bool
    color: bool
    random_crop: bool
    is_reg: bool


@dataclass(frozen=True)
class Mask:
    """Where an image's loss counts: a mask file of the image's size, or the image's own alpha channel (None)."""

    path: Path | None
    sha256: str | None


@dataclass(frozen=True)
class Picture:
    """One image of a data set: width and height of the upright image, and the bucket it is scaled and cropped to.

    `caption` is the text to train on before any rule is applied; `name` is the path below the data folder; `scaled` is
    the size before the crop to `bucket`. `levels` is a hash of the decoded image, the same for equal images in
    different formats; empty where it is not known.
    """

    path: Path
    name: str
    caption: str
    width: int
    height: int
    repeats: int
    sha256: str
    bucket: Size
    scaled: Size
    treatment: Treatment
    mask: Mask | None
    levels: str = ""


@dataclass(frozen=True)
class Dataset:
    """Images ordered by subset and name, so that an index into `train` or `validation` always means the same image.

    The regularisation images come last in `train`. `resolution` is the size of previews. `notices` holds one line for
    each thing that works but deserves a look.
    """

    name: str
    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]
    cache_text: bool | None
    cache_latents: bool | None
    frozen_latents: bool
    weighted_captions: bool
    prior_loss_weight: float
    validation_seed: int
    resolution: Size
    workers: int
    vae_batch_size: int
    notices: tuple[str, ...] = ()

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """The treatments of the training images in order, one for each subset."""
        return _treatments(self.train)

    @property
    def fixed_captions(self) -> bool:
        """Whether every training image has the same caption at every step."""
        return all(is_fixed(treatment.rules) for treatment in self.treatments)


@runtime_checkable
class Watched(Protocol):
    """A target of conf/data that can tell whether its files are as they were; what it read need not be read again."""

    def state(self) -> str:
        """Text that is another one once a file that decides the data set was added, removed or written."""
        ...


def keeps_text(dataset: Dataset, trains_text_encoders: bool) -> bool:
    """Whether text encoder outputs are cached: by default whenever they cannot change during the training.

    Raises UserError where `cache_text` asks for it although they change.
    """
    if dataset.cache_text and trains_text_encoders:
        raise UserError("data.cache_text", True, "network.text_encoders=true changes outputs; set it to null")
    if dataset.cache_text is None:
        return dataset.fixed_captions and not trains_text_encoders
    return dataset.cache_text


def keeps_latents(dataset: Dataset) -> bool:
    """Whether latents are cached: by default unless images change before they are encoded."""
    if dataset.cache_latents is None:
        return not any(treatment.color or treatment.random_crop for treatment in dataset.treatments)
    return dataset.cache_latents


def manifest(dataset: Dataset) -> list[dict[str, Any]]:
    """The images of a run for its record, one entry each; the caption is the one that trains.

    `plain` is the caption without its random parts, whose encoding is kept in the cache, where the two differ.
    """
    parts = [("regularisation" if picture.treatment.is_reg else "train", picture) for picture in dataset.train]
    parts += [("validation", picture) for picture in dataset.validation]
    return [
        {
            "split": split,
            "path": str(picture.path),
            "bytes": picture.path.stat().st_size,
            "sha256": picture.sha256,
            "width": picture.width,
            "height": picture.height,
            "caption": picture.caption,
            **_plain_entry(picture),
            "bucket": list(picture.bucket),
            "scaled": list(picture.scaled),
            "repeats": picture.repeats,
            "mask": _mask_entry(picture.mask),
        }
        for split, picture in parts
    ]


def _plain_entry(picture: Picture) -> dict[str, str]:
    text = plain(picture.caption, picture.treatment.rules)
    return {} if text == picture.caption else {"plain": text}


def content_hash(dataset: Dataset) -> str:
    """Hex sha256 of what the data folders hold and how each image is treated, for the signature.

    Covers names, images, captions, masks, repeats, sizes and treatments, but no paths, because folders may move.
    """
    treatments = _treatments((*dataset.train, *dataset.validation))
    numbers = {id(treatment): number for number, treatment in enumerate(treatments)}
    pictures = [
        [_content(picture, numbers[id(picture.treatment)]) for picture in part]
        for part in (dataset.train, dataset.validation)
    ]
    rules = [asdict(treatment) for treatment in treatments]
    return hashlib.sha256(json.dumps([rules, *pictures]).encode()).hexdigest()


def _treatments(pictures: Sequence[Picture]) -> tuple[Treatment, ...]:
    # All images of a subset share one object, and comparing identities is much faster than comparing rules.
    return tuple({id(picture.treatment): picture.treatment for picture in pictures}.values())


def _content(picture: Picture, treatment: int) -> list[Any]:
    mask = picture.mask and ("alpha" if picture.mask.path is None else picture.mask.sha256)
    sizes = [*picture.bucket, *picture.scaled]
    return [picture.name, picture.sha256, picture.caption, picture.repeats, sizes, treatment, mask]


def _mask_entry(mask: Mask | None) -> dict[str, Any] | str | None:
    if mask is None:
        return None
    if mask.path is None:
        return "alpha"
    return {"path": str(mask.path), "bytes": mask.path.stat().st_size, "sha256": mask.sha256}

"""The two small captioned image folders that ship for training LoRAs: a style and a new subject."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .packages import picture_path
from .pictures import compose, open_picture
from .subjects import TABLES, Subject, listed, named_subjects

STYLE_TRIGGER = "twemoji style"
SUBJECT_TRIGGER = "mimi cat"

# (canvas width, canvas height, picture size) in pixels; every third image of a set takes one of the other shapes.
SQUARE = (64, 64, 64)
SHAPES = ((96, 64, 64), (64, 96, 64), (80, 56, 56), (56, 80, 56), (112, 64, 60), (60, 100, 60), (72, 72, 64))


@dataclass(frozen=True)
class DemoImage:
    """One image of a demo set before it is drawn: file name, drawing, caption and where it stands on what."""

    name: str
    style: str
    image: str
    caption: str
    shape: tuple[int, int, int]
    place: tuple[float, float]


def held_out_images(metadata: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """(style, picture file) of the validation pictures, which no part of the base model may see."""
    style = {("twemoji", subject.image) for subject in named_subjects(metadata, listed("style_val"))}
    return style | {("noto", subject.image) for subject in named_subjects(metadata, listed("subject_val"))}


def style_set(subjects: Iterable[Subject], seed: int) -> list[DemoImage]:
    """Emoji drawn in the Twemoji style, each once."""
    captioned = [(subject, (STYLE_TRIGGER, *subject.tags)) for subject in subjects]
    return _arrange(captioned, "twemoji", seed)


def subject_set(subjects: Iterable[Subject], seed: int) -> list[DemoImage]:
    """Cats drawn in the Noto style, each twice, mostly on canvases of different shapes."""
    cat_tags = TABLES["cat_tags"]
    captioned = [
        (subject, (SUBJECT_TRIGGER, *cat_tags[subject.short_name], "animal")) for subject in subjects for _ in range(2)
    ]
    return _arrange(captioned, "noto", seed)


def write_demo_sets(work: Path, metadata: list[dict[str, Any]], out: Path, seed: int) -> None:
    """Write `twemoji-style` and `new-subject`, each with `train` and `val`, below `out`; replaces what is there."""
    cats_to_train = [name for name in listed("cats") if name not in listed("subject_val")]
    sets = {
        "twemoji-style/train": style_set(named_subjects(metadata, listed("style_train")), seed),
        "twemoji-style/val": style_set(named_subjects(metadata, listed("style_val")), seed + 1),
        "new-subject/train": subject_set(named_subjects(metadata, cats_to_train), seed),
        "new-subject/val": subject_set(named_subjects(metadata, listed("subject_val")), seed + 1),
    }
    for folder, images in sets.items():
        _write_folder(work, images, out / folder)


def _arrange(captioned: list[tuple[Subject, tuple[str, ...]]], style: str, seed: int) -> list[DemoImage]:
    images = []
    for index, (subject, tags) in enumerate(captioned):
        rng = random.Random(f"{seed} {style} {index}")
        shape = rng.choice(SHAPES) if index % 3 == 2 else SQUARE
        place = (rng.choice((0.0, 0.5, 0.5, 1.0)), rng.choice((0.0, 0.5, 0.5, 1.0)))
        name = subject.short_name.replace("_", "-").replace("+1", "thumbs-up")
        images.append(DemoImage(name, style, subject.image, ", ".join(tags), shape, place))
    return images


def _write_folder(work: Path, images: list[DemoImage], folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for image in images:
        stem = _free_stem(partial, image.name)
        width, height, size = image.shape
        picture = open_picture(picture_path(work, image.style, image.image))
        compose(picture, (width, height), size, image.place).save(partial / f"{stem}.png", optimize=True)
        (partial / f"{stem}.txt").write_text(image.caption + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _free_stem(folder: Path, name: str) -> str:
    stem, number = name, 2
    while (folder / f"{stem}.png").exists():
        stem, number = f"{name}-{number}", number + 1
    return stem

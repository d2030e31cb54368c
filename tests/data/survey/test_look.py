"""Which images look alike: copies in other sizes and formats do, different ones do not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sweeplora.config.compose import asset
from sweeplora.data.decode import glance
from sweeplora.data.survey.look import GRID, Look, alike, look_of


def scene(seed: int, size: tuple[int, int] = (256, 192)) -> Image.Image:
    """A smooth picture of large shapes, as photographs are."""
    levels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)


def look(image: Image.Image, kind: str = "PNG", **options: int) -> Look:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return look_of(glance(stream.getvalue(), GRID).small)


def groups(images: Sequence[Image.Image]) -> list[list[int]]:
    return alike([look(image) for image in images])


def test_a_smaller_copy_and_a_strongly_compressed_one_look_alike() -> None:
    first, second = scene(1), scene(2)
    looks = [look(first), look(second), look(first.resize((128, 96))), look(first, "JPEG", quality=40)]
    assert alike(looks) == [[0, 2, 3]]
    assert alike([look(scene(number)) for number in range(40)]) == []


def test_a_mirrored_or_recoloured_picture_is_another_one() -> None:
    first = scene(3)
    red, green, blue = first.split()
    assert (
        groups([first, first.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.merge("RGB", (blue, red, green))]) == []
    )


def test_flat_pictures_look_alike_only_in_the_same_colour() -> None:
    flat = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "white", "black", (254, 1, 0))]
    assert groups(flat) == [[0, 4]]


def test_the_shipped_pictures_do_not_look_alike() -> None:
    folder: Path = asset("data/twemoji-style/train")
    assert groups([Image.open(file).convert("RGB") for file in sorted(folder.glob("*.png"))]) == []


def test_groups_join_over_blocks_of_rows() -> None:
    looks = [look(scene(number, (32, 24))) for number in range(4)]
    many = [looks[number % 4] for number in range(1100)]
    assert alike(many) == [list(range(first, 1100, 4)) for first in range(4)]
    assert alike([looks[0], *(look(scene(number, (32, 24))) for number in range(10, 700)), looks[0]]) == [[0, 691]]

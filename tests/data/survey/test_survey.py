"""A survey of folders: it tells every fault, and agrees with what a training reads where there is none."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sweeplora.data.decode import ImageFault, decode, glance
from sweeplora.data.survey.look import GRID
from sweeplora.data.survey.survey import Sides, survey
from tests.data.folders import picture, settings, several
from tests.data.test_damage import FORMATS

SIDES = Sides(16, 64)


def test_it_agrees_with_what_a_training_reads(tmp_path: Path) -> None:
    for number, size in enumerate([(64, 64)] * 6 + [(96, 48)] * 4 + [(40, 80), (200, 64)]):
        picture(tmp_path / ("3_cats" if number % 2 else "dogs") / f"{number}.png", size, f"tag {number}", seed=number)
    folder = settings(tmp_path, val_split=0.25, repeats=2)
    read = folder.read(*SIDES)
    found = survey(folder, SIDES)
    assert {one.shown for one in found.seen if one.held_out} == {one.name for one in read.validation}
    buckets = Counter({one.picture.bucket: 0 for one in found.seen if one.picture is not None and not one.held_out})
    for one in found.seen:
        if one.picture is not None and not one.held_out:
            buckets[one.picture.bucket] += one.picture.repeats
    assert buckets == sum((Counter({one.bucket: one.repeats}) for one in read.train), Counter())
    assert set(found.notices) == set(read.notices) and found.refusals == ()


def test_held_out_images_that_are_trained_on_too_would_be_refused(tmp_path: Path) -> None:
    several(tmp_path / "train", 3)
    several(tmp_path / "val", 1)
    found = survey(settings(tmp_path / "train", val_dir=str(tmp_path / "val")), SIDES)
    assert len(found.refusals) == 1 and "data.val_dir" in found.refusals[0]
    assert {one.source for one in found.seen} == {"data.dir", "data.val_dir"}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_glance_sees_the_size_and_the_faults_that_decoding_sees(kind: str, tmp_path: Path) -> None:
    data = picture(tmp_path / f"a.{kind}", (61, 40), None).read_bytes()
    assert glance(data, GRID).size == decode(data).size == (61, 40)
    draw = random.Random(kind)
    for _ in range(20):
        place = draw.randrange(len(data))
        damaged = draw.choice((data[:place], data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]))
        assert _fault(decode, damaged) == _fault(lambda content: glance(content, GRID), damaged)


def _fault(read: Callable[[bytes], object], data: bytes) -> str | None:
    try:
        read(data)
    except ImageFault as fault:
        return str(fault)
    return None


def test_a_turned_photo_is_seen_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 320)).save(tmp_path / "a.jpg", exif=exif)
    assert glance((tmp_path / "a.jpg").read_bytes(), GRID).size == (320, 640)

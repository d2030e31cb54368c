"""Pixels: range, order, placing in the bucket, mirroring and the size ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeplora.data.images import ImageFault
from sweeplora.data.index import Picture
from sweeplora.data.pixels import read, size_ids
from tests.data.folders import picture, settings


def _only(folder: Path, **changes: object) -> Picture:
    return settings(folder, **changes).read(16, 64).train[0]


def test_an_image_of_its_buckets_size_keeps_every_level(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    values = read(_only(tmp_path), flip=False)
    assert values.shape == (3, 64, 64)
    assert values.dtype == np.float32
    levels = np.asarray(Image.open(path)).transpose(2, 0, 1)
    np.testing.assert_array_equal(np.rint((values.astype(np.float64) + 1) * 127.5), levels)


def test_black_is_minus_one_and_white_is_one(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (0, 255, 255)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("x")
    values = read(_only(tmp_path), flip=False)
    assert values[0].max() == -1.0
    assert values[1].min() == 1.0


def test_a_wide_image_is_cut_at_both_ends(tmp_path: Path) -> None:
    image = Image.new("RGB", (128, 64), "black")
    image.paste("white", (32, 0, 96, 64))
    image.save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("x")
    found = _only(tmp_path, bucket=False)
    assert read(found, flip=False).min() == 1.0
    assert size_ids(found, flip=False) == (64, 128, 0, 32, 64, 64)


def test_the_bucket_is_width_by_height_and_the_array_height_by_width(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (100, 60))
    found = _only(tmp_path)
    assert found.bucket == (80, 48)
    assert read(found, flip=False).shape == (3, 48, 80)
    assert size_ids(found, flip=False) == (60, 100, 0, 0, 48, 80)


def test_shrinking_does_not_alias(tmp_path: Path) -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("x")
    assert np.abs(read(_only(tmp_path), flip=False)).max() < 0.1  # an even grey


def test_a_mirrored_picture_is_mirrored_with_its_crop(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (67, 64))
    found = _only(tmp_path, bucket=False)
    np.testing.assert_array_equal(read(found, flip=True), read(found, flip=False)[:, :, ::-1])
    assert size_ids(found, flip=False)[3] == 1
    assert size_ids(found, flip=True)[3] == 2


def test_a_file_changed_since_it_was_indexed_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    found = _only(tmp_path)
    picture(tmp_path / "a.png", seed=1)
    with pytest.raises(ImageFault, match="changed"):
        read(found, flip=False)

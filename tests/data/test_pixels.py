"""Pixels: order, placing in the bucket, cuts, mirroring, colours, masks and the size ids."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeplora.data.dataset import Picture
from sweeplora.data.decode import ImageFault
from sweeplora.data.pixels import View, centre_view, random_view, read, read_mask, size_ids
from tests.data.folders import picture, settings


def _only(folder: Path, **changes: object) -> Picture:
    return settings(folder, **changes).read(16, 64).train[0]


def _saved(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    path.with_suffix(".txt").write_text("x")
    return path


def test_an_image_of_its_buckets_size_keeps_every_level(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    found = _only(tmp_path)
    cut = read(found, centre_view(found))
    assert cut.pixels.shape == (3, 64, 64)
    assert cut.pixels.dtype == np.uint8
    assert cut.mask is None
    np.testing.assert_array_equal(cut.pixels, np.asarray(Image.open(path)).transpose(2, 0, 1))


def test_a_wide_image_is_cut_at_both_ends(tmp_path: Path) -> None:
    image = Image.new("RGB", (128, 64), "black")
    image.paste("white", (32, 0, 96, 64))
    _saved(tmp_path / "a.png", image)
    found = _only(tmp_path, bucket=False)
    assert read(found, centre_view(found)).pixels.min() == 255
    assert size_ids(found, centre_view(found)) == (64, 128, 0, 32, 64, 64)


def test_the_bucket_is_width_by_height_and_the_array_height_by_width(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (100, 60))
    found = _only(tmp_path)
    assert found.bucket == (80, 48)
    assert read(found, centre_view(found)).pixels.shape == (3, 48, 80)
    assert size_ids(found, centre_view(found)) == (60, 100, 0, 0, 48, 80)


def test_an_image_that_must_not_grow_is_cut_at_its_own_size(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (70, 52))
    found = _only(tmp_path, bucket_no_upscale=True)
    assert (found.scaled, found.bucket) == ((70, 52), (64, 48))
    levels = np.asarray(Image.open(path))[2:50, 3:67].transpose(2, 0, 1)
    np.testing.assert_array_equal(read(found, centre_view(found)).pixels, levels)
    assert size_ids(found, centre_view(found)) == (52, 70, 2, 3, 48, 64)


def test_shrinking_does_not_alias(tmp_path: Path) -> None:
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    _saved(tmp_path / "a.png", Image.fromarray(stripes))
    found = _only(tmp_path)
    levels = read(found, centre_view(found)).pixels
    assert levels.min() > 115
    assert levels.max() < 140  # an even grey


def test_a_mirrored_picture_is_mirrored_with_its_crop(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (67, 64))
    found = _only(tmp_path, bucket=False)
    plain, mirrored = centre_view(found), centre_view(found, flip=True)
    np.testing.assert_array_equal(read(found, mirrored).pixels, read(found, plain).pixels[:, :, ::-1])
    assert size_ids(found, plain)[3] == 1
    assert size_ids(found, mirrored)[3] == 2


@pytest.mark.parametrize("flip", [False, True])
def test_size_ids_say_where_the_cut_was_made(tmp_path: Path, flip: bool) -> None:
    path = picture(tmp_path / "a.png", (80, 72))
    found = _only(tmp_path, bucket=False)
    scaled = Image.open(path).resize(found.scaled, Image.Resampling.LANCZOS)
    scaled = scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else scaled
    for seed in range(8):
        view = random_view(found, flip, random.Random(seed))
        top, left = size_ids(found, view)[2:4]
        cut = np.asarray(scaled.crop((left, top, left + 64, top + 64))).transpose(2, 0, 1)
        np.testing.assert_array_equal(read(found, view).pixels, cut)


def test_random_cuts_are_equally_likely_everywhere(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (64, 67))
    found = _only(tmp_path, bucket=False)
    tops = [random_view(found, False, random.Random(seed)).top for seed in range(4000)]
    counts = np.bincount(tops)
    assert len(counts) == 4
    assert np.abs(counts - 1000).max() < 137  # five standard deviations


def test_colour_follows_from_its_seed(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    found = _only(tmp_path)
    plain = read(found, centre_view(found)).pixels
    views = [centre_view(found)._replace(color=seed) for seed in range(40)]
    changed = [not np.array_equal(read(found, view).pixels, plain) for view in views]
    assert 3 < sum(changed) < 24  # a third
    first = views[changed.index(True)]
    np.testing.assert_array_equal(read(found, first).pixels, read(found, first).pixels)


def test_the_own_transparency_as_a_mask_leaves_the_colours_below_it(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    _saved(tmp_path / "a.png", Image.fromarray(levels))
    masked, blended = (_only(tmp_path, alpha_mask=on) for on in (True, False))
    cut = read(masked, centre_view(masked))
    np.testing.assert_array_equal(cut.pixels, levels[..., :3].transpose(2, 0, 1))
    np.testing.assert_array_equal(cut.mask, levels[..., 3])
    np.testing.assert_array_equal(read_mask(masked, centre_view(masked)), levels[..., 3])
    on_white = read(blended, centre_view(blended))
    assert on_white.mask is None
    share = levels[..., 3:] / 255
    expected = (levels[..., :3] * share + 255 * (1 - share)).transpose(2, 0, 1)
    np.testing.assert_allclose(on_white.pixels, expected, atol=1.01)


def test_an_image_without_transparency_counts_everywhere(tmp_path: Path) -> None:
    _saved(tmp_path / "a.jpg", Image.new("RGB", (64, 64), "red"))
    found = _only(tmp_path, alpha_mask=True)
    assert read_mask(found, centre_view(found)).min() == 255


def test_a_mask_is_cut_and_mirrored_with_its_image(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    _saved(tmp_path / "set" / "a.png", Image.fromarray(image))
    _saved(tmp_path / "masks" / "a.png", Image.fromarray(image[..., 0]))
    found = _only(tmp_path / "set", mask_dir=str(tmp_path / "masks"), bucket=False)
    for view in (View(3, 0, False, None), View(11, 0, True, None)):
        cut = read(found, view)
        np.testing.assert_array_equal(cut.mask, cut.pixels[0])
        np.testing.assert_array_equal(read_mask(found, view), cut.pixels[0])


def test_a_file_changed_since_it_was_indexed_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    found = _only(tmp_path)
    picture(tmp_path / "a.png", seed=1)
    with pytest.raises(ImageFault, match="changed"):
        read(found, centre_view(found))


def test_a_mask_changed_since_it_was_indexed_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png")
    picture(tmp_path / "masks" / "a.png", seed=2)
    found = _only(tmp_path / "set", mask_dir=str(tmp_path / "masks"))
    picture(tmp_path / "masks" / "a.png", seed=3)
    with pytest.raises(ImageFault, match="changed"):
        read(found, centre_view(found))

"""Masks: which file belongs to which image, what is refused, and how levels become weights of latents."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sweeplora.data.buckets import Size
from sweeplora.data.dataset import Dataset, Mask, content_hash, manifest
from sweeplora.data.masks import mask_levels, scale_mask, split_alpha
from sweeplora.data.pixels import shrink_mask
from sweeplora.errors import UserError
from tests.data.folders import picture, settings


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("factor", [4, 8])
def test_a_latent_counts_by_the_mean_of_its_pixels(factor: int) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (64, 96), np.uint8)
    shares = shrink_mask(levels, factor)
    # what sd-scripts' apply_masked_loss does
    full = torch.from_numpy(levels / np.float32(255))[None, None]
    expected = torch.nn.functional.interpolate(full, size=(64 // factor, 96 // factor), mode="area")
    assert shares.shape == (1, 64 // factor, 96 // factor)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, expected[0], atol=1e-6)


def test_white_counts_fully_and_black_not_at_all() -> None:
    assert shrink_mask(np.full((8, 8), 255, np.uint8), 4).tolist() == [[[1.0, 1.0], [1.0, 1.0]]]
    assert shrink_mask(np.zeros((8, 8), np.uint8), 4).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_a_drawn_mask_is_the_red_channel_whatever_its_kind() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
    assert np.array_equal(np.asarray(mask_levels(_png(Image.fromarray(levels[..., 0])))), levels[..., 0])
    assert np.array_equal(np.asarray(mask_levels(_png(Image.fromarray(levels[..., :3])))), levels[..., 0])
    assert np.array_equal(np.asarray(mask_levels(_png(Image.fromarray(levels)))), levels[..., 0])
    black_and_white = Image.fromarray(levels[..., 0] > 127)
    assert set(np.unique(np.asarray(mask_levels(_png(black_and_white))))) == {0, 255}


def test_white_drawn_on_nothing_masks_what_is_not_drawn() -> None:
    mask = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 4, 8))
    levels = np.asarray(mask_levels(_png(mask)))
    assert levels[:, :4].min() == 255
    assert levels[:, 4:].max() == 0


def test_a_picture_and_its_transparency_come_apart() -> None:
    levels = np.random.default_rng(3).integers(0, 256, (6, 5, 4), np.uint8)
    picture, alpha = split_alpha(_png(Image.fromarray(levels)))
    assert np.array_equal(np.asarray(picture), levels[..., :3])
    assert np.array_equal(np.asarray(alpha), levels[..., 3])


def test_a_shrinking_mask_is_averaged_and_never_overshoots() -> None:
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (0, 0, 63, 128))
    small = np.asarray(scale_mask(mask, Size(64, 64)))
    assert small[0, 30] == 255
    assert small[0, 31] in (127, 128)
    assert small[0, 32] == 0
    assert scale_mask(mask, Size(128, 128)) is mask
    assert scale_mask(mask, Size(130, 140)).size == (130, 140)


def _mask(path: Path, size: tuple[int, int] = (64, 64), level: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path)
    return path


def _images(root: Path) -> Path:
    picture(root / "images" / "a.png", seed=1)
    picture(root / "images" / "2_more" / "b.jpg", seed=2)
    return root / "images"


def _read(root: Path, **changes: Any) -> Dataset:
    return settings(root / "images", **changes).read(16, 64)


def test_a_mask_has_the_name_of_its_image_below_its_own_folder(tmp_path: Path) -> None:
    _images(tmp_path)
    first, second = _mask(tmp_path / "m" / "a.bmp", level=7), _mask(tmp_path / "m" / "2_more" / "b.png")
    _mask(tmp_path / "m" / "unused.png")
    dataset = _read(tmp_path, mask_dir=str(tmp_path / "m"))
    found = {one.name: one.mask for one in dataset.train}
    assert found == {
        "2_more/b.jpg": Mask(second, hashlib.sha256(second.read_bytes()).hexdigest()),
        "a.png": Mask(first, hashlib.sha256(first.read_bytes()).hexdigest()),
    }


def test_an_alpha_mask_is_the_images_own(tmp_path: Path) -> None:
    _images(tmp_path)
    dataset = _read(tmp_path, alpha_mask=True)
    assert {one.mask for one in dataset.train} == {Mask(None, None)}
    assert {entry["mask"] for entry in manifest(dataset)} == {"alpha"}
    assert {one.mask for one in _read(tmp_path).train} == {None}


def test_missing_masks_are_counted_and_the_first_named(tmp_path: Path) -> None:
    _images(tmp_path)
    _mask(tmp_path / "m" / "other.png")
    message = r"data.mask_dir=.*/m: 2 of 2 images have no mask there \(first: 2_more/b.jpg\); add 2_more/b.png"
    with pytest.raises(UserError, match=message):
        _read(tmp_path, mask_dir=str(tmp_path / "m"))
    with pytest.raises(UserError, match=r"data.mask_dir=.*/none: the folder does not exist"):
        _read(tmp_path, mask_dir=str(tmp_path / "none"))


def test_two_masks_of_one_image_and_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    _images(tmp_path)
    _mask(tmp_path / "m" / "2_more" / "b.png")
    _mask(tmp_path / "m" / "a.png", (32, 64))
    with pytest.raises(UserError, match=r"m/a.png: the mask has 32 x 64 pixels, its image 64 x 64"):
        _read(tmp_path, mask_dir=str(tmp_path / "m"))
    _mask(tmp_path / "m" / "a.bmp")
    with pytest.raises(UserError, match=r"a.bmp and a.png would mask the same image"):
        _read(tmp_path, mask_dir=str(tmp_path / "m"))


def test_a_broken_mask_is_named(tmp_path: Path) -> None:
    _images(tmp_path)
    _mask(tmp_path / "m" / "2_more" / "b.png")
    (tmp_path / "m" / "a.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"m/a.png: the image is not an image"):
        _read(tmp_path, mask_dir=str(tmp_path / "m"))


def test_a_subset_may_have_masks_of_its_own(tmp_path: Path) -> None:
    images = _images(tmp_path)
    picture(tmp_path / "other" / "c.png", seed=3)
    mask = _mask(tmp_path / "m" / "c.png")
    subsets = [{"dir": str(images)}, {"dir": str(tmp_path / "other"), "mask_dir": str(tmp_path / "m")}]
    masks = [one.mask and one.mask.path for one in settings(None, subsets=subsets).read(16, 64).train]
    assert masks == [None, None, mask]


def test_images_of_the_other_folders_need_no_mask(tmp_path: Path) -> None:
    _images(tmp_path)
    _mask(tmp_path / "m" / "2_more" / "b.png")
    _mask(tmp_path / "m" / "a.png")
    picture(tmp_path / "val" / "v.png", seed=9)
    picture(tmp_path / "reg" / "r.png", seed=10)
    others = {"val_dir": str(tmp_path / "val"), "reg_dir": str(tmp_path / "reg")}
    dataset = _read(tmp_path, mask_dir=str(tmp_path / "m"), **others)
    assert [one.mask for one in dataset.validation] == [None]
    assert [one.mask is None for one in dataset.train] == [False, False, True]


def test_a_changed_mask_changes_the_content_hash_and_is_listed(tmp_path: Path) -> None:
    _images(tmp_path)
    second = _mask(tmp_path / "m" / "2_more" / "b.png")
    _mask(tmp_path / "m" / "a.png")
    before = content_hash(_read(tmp_path, mask_dir=str(tmp_path / "m")))
    assert before != content_hash(_read(tmp_path))
    _mask(second, level=3)
    changed = _read(tmp_path, mask_dir=str(tmp_path / "m"))
    assert content_hash(changed) != before
    data = second.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert manifest(changed)[0]["mask"] == {"path": str(second), "bytes": len(data), "sha256": digest}

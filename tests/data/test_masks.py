"""Masks: read from either place, scaled with the image, shrunk to the latents as the reference does."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sweeplora.data.buckets import Size
from sweeplora.data.masks import drawn, scale, shrink, split


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("factor", [4, 8])
def test_a_latent_counts_by_the_mean_of_its_pixels(factor: int) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (64, 96), np.uint8)
    shares = shrink(levels, factor)
    # what sd-scripts' apply_masked_loss does
    full = torch.from_numpy(levels / np.float32(255))[None, None]
    expected = torch.nn.functional.interpolate(full, size=(64 // factor, 96 // factor), mode="area")
    assert shares.shape == (1, 64 // factor, 96 // factor)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, expected[0], atol=1e-6)


def test_white_counts_fully_and_black_not_at_all() -> None:
    assert shrink(np.full((8, 8), 255, np.uint8), 4).tolist() == [[[1.0, 1.0], [1.0, 1.0]]]
    assert shrink(np.zeros((8, 8), np.uint8), 4).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_a_drawn_mask_is_the_red_channel_whatever_its_kind() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
    assert np.array_equal(np.asarray(drawn(_png(Image.fromarray(levels[..., 0])))), levels[..., 0])
    assert np.array_equal(np.asarray(drawn(_png(Image.fromarray(levels[..., :3])))), levels[..., 0])
    assert np.array_equal(np.asarray(drawn(_png(Image.fromarray(levels)))), levels[..., 0])
    black_and_white = Image.fromarray(levels[..., 0] > 127)
    assert set(np.unique(np.asarray(drawn(_png(black_and_white))))) == {0, 255}


def test_white_drawn_on_nothing_masks_what_is_not_drawn() -> None:
    mask = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 4, 8))
    levels = np.asarray(drawn(_png(mask)))
    assert levels[:, :4].min() == 255
    assert levels[:, 4:].max() == 0


def test_a_picture_and_its_transparency_come_apart() -> None:
    levels = np.random.default_rng(3).integers(0, 256, (6, 5, 4), np.uint8)
    picture, alpha = split(_png(Image.fromarray(levels)))
    assert np.array_equal(np.asarray(picture), levels[..., :3])
    assert np.array_equal(np.asarray(alpha), levels[..., 3])


def test_a_shrinking_mask_is_averaged_and_never_overshoots() -> None:
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (0, 0, 63, 128))
    small = np.asarray(scale(mask, Size(64, 64)))
    assert small[0, 30] == 255
    assert small[0, 31] in (127, 128)
    assert small[0, 32] == 0
    assert scale(mask, Size(128, 128)) is mask
    assert scale(mask, Size(130, 140)).size == (130, 140)

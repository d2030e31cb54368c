"""Buckets: which sizes there are, which one an image takes, and where it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from sweeplora.data.buckets import Size, bucket_sizes, choose, fit, flipped_left


def test_sizes_are_every_width_with_the_largest_height_that_keeps_the_area() -> None:
    expected = [(32, 128), (48, 80), (64, 64), (80, 48), (128, 32)]
    expected += [(96, 32), (32, 96), (112, 32), (32, 112)]  # 96 and 112 wide: 42 and 36 high, floored to 32
    assert bucket_sizes(64, 32, 128, 16) == sorted(expected)


def test_sizes_of_sdxl_hold_its_known_resolutions() -> None:
    sizes = bucket_sizes(1024, 512, 2048, 64)
    assert {(1024, 1024), (896, 1152), (832, 1216), (768, 1344), (640, 1600), (512, 2048)} <= set(sizes)
    assert all(width * height <= 1024 * 1024 for width, height in sizes)
    assert all(width % 64 == 0 and height % 64 == 0 for width, height in sizes)
    assert {(height, width) for width, height in sizes} == set(sizes)


def test_heights_are_capped_at_the_longest_and_dropped_below_the_shortest() -> None:
    assert bucket_sizes(64, 48, 80, 16) == [(48, 80), (64, 64), (80, 48)]


def test_the_square_is_there_even_where_the_step_does_not_divide_the_resolution() -> None:
    assert Size(64, 64) in bucket_sizes(80, 64, 128, 32)


def test_an_image_of_exactly_a_buckets_size_goes_there() -> None:
    sizes = [Size(32, 96), Size(64, 64), Size(64, 192)]
    assert choose(64, 192, sizes) == (64, 192)
    assert choose(65, 195, sizes) == (32, 96)


def test_other_images_go_to_the_least_difference_of_width_over_height() -> None:
    sizes = bucket_sizes(1024, 512, 2048, 64)
    ratios = np.array([width / height for width, height in sizes])
    for width, height in ((1000, 1500), (3000, 2000), (777, 1234), (4000, 500)):
        assert choose(width, height, sizes) == sizes[int(np.abs(ratios - width / height).argmin())]


@pytest.mark.parametrize(
    ("image", "bucket", "scaled", "left", "top"),
    [
        ((64, 64), (64, 64), (64, 64), 0, 0),
        ((100, 60), (80, 48), (80, 48), 0, 0),
        ((128, 64), (64, 64), (128, 64), 32, 0),
        ((64, 128), (64, 64), (64, 128), 0, 32),
        ((33, 32), (64, 64), (66, 64), 1, 0),
        ((101, 67), (80, 48), (80, 53), 0, 2),
    ],
)
def test_an_image_covers_its_bucket_and_is_cut_at_the_centre(
    image: tuple[int, int], bucket: tuple[int, int], scaled: tuple[int, int], left: int, top: int
) -> None:
    assert fit(*image, Size(*bucket)) == (scaled, left, top)


def test_a_scaled_image_is_never_smaller_than_its_bucket() -> None:
    sizes = bucket_sizes(64, 32, 128, 16)
    for width in range(7, 300, 11):
        for height in range(5, 300, 13):
            bucket = choose(width, height, sizes)
            scaled, left, top = fit(width, height, bucket)
            assert scaled.width >= bucket.width + left
            assert scaled.height >= bucket.height + top
            assert scaled.width == bucket.width or scaled.height == bucket.height


def test_an_odd_rest_lies_on_the_other_side_of_a_mirrored_image() -> None:
    bucket = Size(64, 64)
    placed = fit(67, 64, bucket)
    assert (placed.left, flipped_left(placed, bucket)) == (1, 2)

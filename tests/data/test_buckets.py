"""Buckets: which sizes there are, which one an image takes, and where it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from sweeplora.data.buckets import BucketGrid, Size, bucket_sizes, centred, choose, cover, place, shrink


def test_sizes_are_every_width_with_the_largest_height_that_keeps_the_area() -> None:
    expected = [(32, 128), (48, 80), (64, 64), (80, 48), (128, 32)]
    expected += [(96, 32), (32, 96), (112, 32), (32, 112)]  # 96 and 112 wide: 42 and 36 high, floored to 32
    assert bucket_sizes(Size(64, 64), 32, 128, 16) == sorted(expected)


@pytest.mark.parametrize(
    ("resolution", "shortest", "longest", "step"),
    [((1024, 1024), 512, 2048, 64), ((512, 768), 256, 1024, 64), ((1000, 1000), 320, 1600, 32)],
)
def test_sizes_are_those_that_a_search_over_all_multiples_finds(
    resolution: tuple[int, int], shortest: int, longest: int, step: int
) -> None:
    area = resolution[0] * resolution[1]
    sides = range(shortest, longest + 1, step)
    highest = {width: [height for height in sides if width * height <= area] for width in sides}
    found = {(width, heights[-1]) for width, heights in highest.items() if heights}
    square = max(side for side in range(step, longest, step) if side * side <= area)
    expected = found | {(height, width) for width, height in found} | {(square, square)}
    assert bucket_sizes(Size(*resolution), shortest, longest, step) == sorted(expected)


def test_sizes_of_sdxl_hold_its_known_resolutions() -> None:
    sizes = bucket_sizes(Size(1024, 1024), 512, 2048, 64)
    assert {(1024, 1024), (896, 1152), (832, 1216), (768, 1344), (640, 1600), (512, 2048)} <= set(sizes)
    assert all(width * height <= 1024 * 1024 for width, height in sizes)
    assert all(width % 64 == 0 and height % 64 == 0 for width, height in sizes)
    assert {(height, width) for width, height in sizes} == set(sizes)


def test_heights_are_capped_at_the_longest_and_dropped_below_the_shortest() -> None:
    assert bucket_sizes(Size(64, 64), 48, 80, 16) == [(48, 80), (64, 64), (80, 48)]


def test_the_square_is_there_even_where_the_step_does_not_divide_the_resolution() -> None:
    assert Size(64, 64) in bucket_sizes(Size(80, 80), 64, 128, 32)


def test_an_oblong_resolution_gives_its_area_to_all_buckets() -> None:
    sizes = bucket_sizes(Size(96, 64), 32, 192, 16)
    assert Size(64, 64) in sizes  # the square: 78 a side, floored
    assert {Size(96, 64), Size(64, 96), Size(192, 32), Size(112, 48)} <= set(sizes)
    assert all(64 * 96 - width * 16 < width * height <= 64 * 96 for width, height in sizes if width > 64)


def test_an_image_of_exactly_a_buckets_size_goes_there() -> None:
    sizes = [Size(32, 96), Size(64, 64), Size(64, 192)]
    assert choose(64, 192, sizes) == (64, 192)
    assert choose(65, 195, sizes) == (32, 96)


def test_other_images_go_to_the_least_difference_of_width_over_height() -> None:
    sizes = bucket_sizes(Size(1024, 1024), 512, 2048, 64)
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
    assert centred(cover(*image, Size(*bucket)), Size(*bucket)) == (scaled, left, top)


def test_a_scaled_image_is_never_smaller_than_its_bucket() -> None:
    sizes = bucket_sizes(Size(64, 64), 32, 128, 16)
    for width in range(7, 300, 11):
        for height in range(5, 300, 13):
            bucket = choose(width, height, sizes)
            scaled, left, top = centred(cover(width, height, bucket), bucket)
            assert scaled.width >= bucket.width + left
            assert scaled.height >= bucket.height + top
            assert scaled.width == bucket.width or scaled.height == bucket.height


@pytest.mark.parametrize(
    ("image", "bucket", "scaled"),
    [
        ((640, 480), (640, 448), (640, 480)),  # under the area: not scaled, floored
        ((200, 100), (192, 64), (200, 100)),
        ((2000, 2000), (1024, 1024), (1024, 1024)),
        # 2048 x 1024 ideal: 1448 x 724. By width 1408 x 704, by height 704 x 1408: both exactly 2, the height wins.
        ((4096, 2048), (1408, 704), (1408, 704)),
        # 3:2, ideal 1254 x 836. Width 1216 gives height 768 (1.583), height 832 gives 1216 (1.462): the height wins.
        ((3000, 2000), (1216, 832), (1248, 832)),
        # 1.7: ideal 1335 x 785. Width 1280 gives 704 (1.818), height 768 gives 1280 (1.667): the height wins.
        ((3400, 2000), (1280, 768), (1306, 768)),
        # 1.9: ideal 1411 x 743. Width 1408 gives 704 (2.0), height 704 gives 1280 (1.818): the height wins.
        ((3800, 2000), (1280, 704), (1338, 704)),
        # 1.3: ideal 1167 x 898. Width 1152 gives 832 (1.385), height 896 gives 1152 (1.286).
        ((2600, 2000), (1152, 896), (1165, 896)),
        # 1.1: ideal 1074 x 976. Width 1024 gives 896 (1.143), height 960 gives 1024 (1.067): the height wins.
        ((2200, 2000), (1024, 960), (1056, 960)),
        # 0.62: ideal 806 x 1300. Width 768 gives 1216 (0.632), height 1280 gives 768 (0.6): the width wins.
        ((1240, 2000), (768, 1216), (768, 1239)),
    ],
)
def test_without_growth_an_image_shrinks_to_the_area_by_the_side_that_keeps_its_shape(
    image: tuple[int, int], bucket: tuple[int, int], scaled: tuple[int, int]
) -> None:
    area = 1024 * 1024
    assert shrink(*image, area, 64) == place(*image, BucketGrid((), area, 64)) == (bucket, scaled)


def test_without_growth_no_image_grows_and_none_is_padded() -> None:
    for width in range(64, 3000, 97):
        for height in range(64, 3000, 89):
            bucket, scaled = shrink(width, height, 512 * 512, 64)
            if 0 in bucket:
                continue
            assert scaled.width <= width
            assert scaled.height <= height
            assert 0 <= scaled.width - bucket.width < 64
            assert 0 <= scaled.height - bucket.height < 64


@pytest.mark.parametrize("image", [(63, 500), (500, 20), (20000, 64)])
def test_an_image_narrower_than_a_step_has_no_bucket(image: tuple[int, int]) -> None:
    assert 0 in shrink(*image, 512 * 512, 64).bucket

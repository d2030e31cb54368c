"""Buckets: sizes of about equal area, the one that an image goes to, and how the image is scaled and cropped."""

from __future__ import annotations

import math
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def default_bounds(resolution: tuple[int, int], step: int) -> tuple[int, int]:
    """The shortest and the longest side of a bucket where none is given: half and twice the resolution's, in steps."""
    return max(step, min(resolution) // 2 // step * step), max(resolution) * 2 // step * step


class Crop(NamedTuple):
    """How an image is fitted to its bucket: scaled to `scaled`, then cropped at `left`, `top` (pixels)."""

    scaled: Size
    left: int
    top: int


class Placement(NamedTuple):
    """The bucket that an image goes to, and the size it is scaled to before it is cropped (pixels)."""

    bucket: Size
    scaled: Size


class BucketGrid(NamedTuple):
    """The buckets of a set of images: `sizes` in ascending order, or the images' own sizes where it is empty.

    In the second case images larger than `area` (pixels) shrink, none grows, and sides are floored to `step`.
    """

    sizes: tuple[Size, ...]
    area: int
    step: int


def bucket_sizes(resolution: Size, shortest: int, longest: int, step: int) -> list[Size]:
    """All bucket sizes with at most the area of `resolution`, in ascending order (pixels).

    Every width from `shortest` to `longest` in steps of `step`, each with the largest multiple of `step` as its height
    that keeps the area and is at most `longest`; dropped where the height is below `shortest`. Both orientations, and
    the square. The same as the predefined resolutions of sd-scripts.
    """
    area = resolution.width * resolution.height
    square = math.isqrt(area) // step * step
    sizes = {Size(square, square)}
    for width in range(shortest, longest + 1, step):
        height = min(longest, area // width // step * step)
        if height >= shortest:
            sizes |= {Size(width, height), Size(height, width)}
    return sorted(sizes)


def place(width: int, height: int, grid: BucketGrid) -> Placement:
    """Where an image of this size goes. A bucket's side is 0 where the image is shorter than one step."""
    if not grid.sizes:
        return shrink(width, height, grid.area, grid.step)
    bucket = choose(width, height, grid.sizes)
    return Placement(bucket, cover(width, height, bucket))


def choose(width: int, height: int, sizes: tuple[Size, ...] | list[Size]) -> Size:
    """The bucket of an image: the one of exactly its size, otherwise the one whose width / height is closest.

    `sizes` is in ascending order; the first of two equally close ones is taken, as in sd-scripts.
    """
    if (width, height) in sizes:
        return Size(width, height)
    aspect = width / height
    return min(sizes, key=lambda size: abs(size.width / size.height - aspect))


def shrink(width: int, height: int, area: int, step: int) -> Placement:
    """The bucket of an image that must not grow: its own size, scaled down to `area` where it is larger.

    To scale down, each side in turn is floored to the step, and the version whose aspect ratio changes less is taken
    (the one by height on a tie). The bucket is the scaled size floored to steps. The same as bucket_no_upscale of
    sd-scripts.
    """
    aspect = width / height
    scaled = Size(width, height)
    if width * height > area:
        ideal = math.sqrt(area * aspect)
        by_width, by_height = _floored(ideal, step), _floored(area / ideal, step)
        height_then, width_then = _floored(by_width / aspect, step), _floored(by_height * aspect, step)
        if 0 in (by_width, by_height, height_then):
            return Placement(Size(0, 0), scaled)
        if abs(by_width / height_then - aspect) < abs(width_then / by_height - aspect):
            scaled = Size(by_width, math.floor(by_width / aspect + 0.5))
        else:
            scaled = Size(math.floor(by_height * aspect + 0.5), by_height)
    return Placement(Size(scaled.width // step * step, scaled.height // step * step), scaled)


def cover(width: int, height: int, bucket: Size) -> Size:
    """The smallest size at which an image covers its bucket, sides rounded half up, as in sd-scripts."""
    scale = max(bucket.width / width, bucket.height / height)
    return Size(
        max(bucket.width, math.floor(width * scale + 0.5)),
        max(bucket.height, math.floor(height * scale + 0.5)),
    )


def centred(scaled: Size, bucket: Size) -> Crop:
    """The centre crop of an image that is scaled to `scaled`.

    This is where the image is really cropped. sd-scripts puts another position into its size and crop ids, which
    cannot be meant for the model.
    """
    return Crop(scaled, (scaled.width - bucket.width) // 2, (scaled.height - bucket.height) // 2)


def _floored(side: float, step: int) -> int:
    return math.floor(side + 0.5) // step * step

"""Bucket sizes of equal area, which one an image goes to, and how it is scaled and cropped into it."""

from __future__ import annotations

import math
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Crop(NamedTuple):
    """How an image comes into its bucket: scaled to `scaled`, then cut at `left`, `top` (pixels)."""

    scaled: Size
    left: int
    top: int


class Placement(NamedTuple):
    """The bucket an image goes to, and the size it is scaled to before it is cut there (pixels)."""

    bucket: Size
    scaled: Size


class BucketGrid(NamedTuple):
    """The buckets of a set of images: `sizes`, ascending, or where that is empty the images' own sizes.

    Then images over `area` (pixels) shrink, none grows, and sides are floored to `step`.
    """

    sizes: tuple[Size, ...]
    area: int
    step: int


def bucket_sizes(resolution: Size, shortest: int, longest: int, step: int) -> list[Size]:
    """All bucket sizes with at most the area of `resolution`, ascending.

    Every width from `shortest` to `longest` in steps, with as height the largest multiple of `step` that
    keeps the area, at most `longest`; dropped where that is below `shortest`. Both orientations, plus the
    square. Behaviour of sd-scripts' predefined resolutions.
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
    """Where an image of this size goes. A side of the bucket is 0 where the image is shorter than a step."""
    if not grid.sizes:
        return shrink(width, height, grid.area, grid.step)
    bucket = choose(width, height, grid.sizes)
    return Placement(bucket, cover(width, height, bucket))


def choose(width: int, height: int, sizes: tuple[Size, ...] | list[Size]) -> Size:
    """The bucket of an image: the one of exactly its size, else the one whose width / height is nearest.

    `sizes` is ascending; of two equally near the first one wins, as in sd-scripts.
    """
    if (width, height) in sizes:
        return Size(width, height)
    aspect = width / height
    return min(sizes, key=lambda size: abs(size.width / size.height - aspect))


def shrink(width: int, height: int, area: int, step: int) -> Placement:
    """The bucket of an image that must not grow: its own size, scaled down where it is over `area`.

    Scaled down it keeps its proportions: each side in turn is floored to the step, and the one of the two
    whose proportions differ less wins (the height of two alike). The bucket is the scaled size floored to
    steps. Behaviour of sd-scripts' bucket_no_upscale.
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
    """The size at which an image just covers its bucket, its sides rounded half up, as in sd-scripts."""
    scale = max(bucket.width / width, bucket.height / height)
    return Size(
        max(bucket.width, math.floor(width * scale + 0.5)),
        max(bucket.height, math.floor(height * scale + 0.5)),
    )


def centred(scaled: Size, bucket: Size) -> Crop:
    """The cut in the middle of an image that was scaled to `scaled`.

    It is where the cut really is: sd-scripts reports another one for its size and crop ids, which a model
    cannot have been meant to see.
    """
    return Crop(scaled, (scaled.width - bucket.width) // 2, (scaled.height - bucket.height) // 2)


def _floored(side: float, step: int) -> int:
    return math.floor(side + 0.5) // step * step

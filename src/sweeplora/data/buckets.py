"""Bucket sizes of equal area, which one an image goes to, and how it is scaled and cropped into it."""

from __future__ import annotations

import math
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Fit(NamedTuple):
    """How an image comes into its bucket: scaled to `scaled`, then cut at `left`, `top` (pixels)."""

    scaled: Size
    left: int
    top: int


def bucket_sizes(resolution: int, shortest: int, longest: int, step: int) -> list[Size]:
    """All bucket sizes with about the area `resolution` squared, ascending.

    Every width from `shortest` to `longest` in steps, with as height the largest multiple of `step` that
    keeps the area, at most `longest`; dropped where that is below `shortest`. Both orientations, plus the
    square. Behaviour of sd-scripts' predefined resolutions.
    """
    area = resolution * resolution
    square = resolution // step * step
    sizes = {Size(square, square)}
    for width in range(shortest, longest + 1, step):
        height = min(longest, area // width // step * step)
        if height >= shortest:
            sizes |= {Size(width, height), Size(height, width)}
    return sorted(sizes)


def choose(width: int, height: int, sizes: list[Size]) -> Size:
    """The bucket of an image: the one of exactly its size, else the one whose width / height is nearest.

    `sizes` is ascending; of two equally near the first one wins, as in sd-scripts.
    """
    if (width, height) in sizes:
        return Size(width, height)
    aspect = width / height
    return min(sizes, key=lambda size: abs(size.width / size.height - aspect))


def fit(width: int, height: int, bucket: Size) -> Fit:
    """Scale so that the image just covers the bucket, then cut out the centre.

    Sides are rounded half up. The crop is where the cut really is: sd-scripts reports another one for its
    size and crop ids, which a model cannot have been meant to see.
    """
    scale = max(bucket.width / width, bucket.height / height)
    scaled = Size(
        max(bucket.width, math.floor(width * scale + 0.5)),
        max(bucket.height, math.floor(height * scale + 0.5)),
    )
    return Fit(scaled, (scaled.width - bucket.width) // 2, (scaled.height - bucket.height) // 2)


def flipped_left(placed: Fit, bucket: Size) -> int:
    """Left edge of the crop, in pixels, when the scaled image is mirrored before it is cut."""
    return placed.scaled.width - bucket.width - placed.left

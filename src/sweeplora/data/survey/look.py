"""How an image looks, in 32 bytes and a few colours, and which images look alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = (17, 16)
"""Width and height of the small copies that are compared."""

METHOD = (
    "near duplicates: difference hash of 17 x 16 grey levels, at most 20 of its 256 bits differ, and the colours of "
    "those places differ by 10 of 255 on average at most"
)
_NOISE = 4  # levels: a flat ground does not rise by what compression adds
_MOST_BITS = 20
_MOST_COLOUR = 10.0
_ROWS = 512  # compared at once, against all others


class Look(NamedTuple):
    """A small copy's difference hash [4] (uint64, one bit for each pair of neighbours), and its colours [816] (uint8).

    The hash: Krawetz 2013, "Kind of Like That" (dHash), here of 256 bits. It says nothing of a flat image, and little
    of a drawing on a plain ground; so the colours have to be alike too.
    """

    bits: NDArray[np.uint64]
    colours: NDArray[np.uint8]


def look_of(small: Image.Image) -> Look:
    """The look of an image from an RGB copy of the size `GRID`."""
    grey = np.asarray(small.convert("L"), dtype=np.int16)
    rises = (grey[:, 1:] - grey[:, :-1] > _NOISE).reshape(-1)
    return Look(np.packbits(rises).view(np.uint64), np.asarray(small, dtype=np.uint8).reshape(-1))


def alike(looks: Sequence[Look]) -> list[list[int]]:
    """Groups of two or more images of which each looks like another one of its group, as indices in order."""
    if len(looks) < 2:
        return []
    bits = np.stack([look.bits for look in looks])
    colours = np.stack([look.colours for look in looks])
    first = list(range(len(looks)))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    for one, other in _pairs(bits, colours):
        low, high = sorted((root(one), root(other)))
        first[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(len(looks)):
        groups.setdefault(root(index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _pairs(bits: NDArray[np.uint64], colours: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Every two images that look alike, the first index below the second."""
    for start in range(0, len(bits), _ROWS):
        rows = bits[start : start + _ROWS]
        distance = np.zeros((len(rows), len(bits) - start), dtype=np.uint16)
        for word in range(bits.shape[1]):
            distance += np.bitwise_count(rows[:, word, None] ^ bits[None, start:, word])
        for row, column in np.argwhere(distance <= _MOST_BITS).tolist():
            one, other = start + row, start + column
            if one < other and _colour_distance(colours[one], colours[other]) <= _MOST_COLOUR:
                yield one, other


def _colour_distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())

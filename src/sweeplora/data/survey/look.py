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
    labels = np.arange(len(looks))
    for start in range(0, len(looks), _ROWS):
        for row, close in enumerate(_close(bits, start), start):
            # Those of its own group need no second look, which keeps thousands of equal images quick.
            others = close[labels[close] != labels[row]]
            joined = others[_colour_distances(colours, row, others) <= _MOST_COLOUR]
            if len(joined):
                together = np.append(labels[joined], labels[row])
                labels[np.isin(labels, together)] = together.min()
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _close(bits: NDArray[np.uint64], start: int) -> Iterator[NDArray[np.intp]]:
    """For each of the rows from `start` on, the images from `start` on whose hash is close to its own."""
    rows = bits[start : start + _ROWS]
    distance = np.zeros((len(rows), len(bits) - start), dtype=np.uint16)
    for word in range(bits.shape[1]):
        distance += np.bitwise_count(rows[:, word, None] ^ bits[None, start:, word])
    for row in distance:
        yield np.flatnonzero(row <= _MOST_BITS) + start


def _colour_distances(colours: NDArray[np.uint8], one: int, others: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean absolute difference of the colours, in levels."""
    difference = np.abs(colours[others].astype(np.int16) - colours[one].astype(np.int16))
    return np.asarray(difference.mean(axis=1), dtype=np.float64)

"""Regularisation images, as many as training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sweeplora.data.dataset import Picture


def balanced(pictures: Sequence[Picture], wanted: int) -> list[Picture]:
    """Regularisation images whose repeats come to `wanted`, the number of training images with theirs.

    In order each one counts with its own repeats until there are enough, and those left over are not used;
    where all of them are too few, they get one repeat more in turn. Behaviour of sd-scripts: the sum is over
    `wanted` only where the last one's own repeats overshoot it.
    """
    used: list[int] = []
    for picture in pictures:
        if sum(used) >= wanted:
            break
        used.append(picture.repeats)
    if not used:
        return []
    rounds, rest = divmod(max(0, wanted - sum(used)), len(used))
    counts = [count + rounds + (number < rest) for number, count in enumerate(used)]
    return [replace(picture, repeats=count) for picture, count in zip(pictures, counts, strict=False)]

"""The order of an epoch: batches, accumulation windows and each process's share of them; and a training's length."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sweeplora.data.buckets import Size
from sweeplora.data.dataset import Dataset, Picture
from sweeplora.randomness import seed_of


@dataclass(frozen=True)
class Item:
    """One use of an image in an epoch: its index in the data set and the number of the repeat."""

    index: int
    repeat: int


class Batch(NamedTuple):
    """Images of one bucket that go through the model together; `names` are their files, for messages."""

    bucket: Size
    items: tuple[Item, ...]
    names: tuple[str, ...]


class Length(NamedTuple):
    """How long a training is, in images and batches of an epoch and in optimizer steps."""

    images: int
    batches: int
    steps_per_epoch: int
    epochs: int
    steps: int


def plan(dataset: Dataset, batch_size: int, seed: int, epoch: int) -> list[Batch]:
    """All batches of one epoch: every image with its repeats, in an order that depends on (seed, epoch) alone.

    Each bucket is shuffled and cut into batches, the last of them short; then the batches are shuffled. Images of all
    subsets share the buckets, regularisation images too. (In sd-scripts every `[[datasets]]` of a TOML file has batches
    of its own.)
    """
    batches: list[Batch] = []
    for bucket, items in sorted(_by_bucket(dataset.train).items()):
        random.Random(seed_of(seed, "order", epoch, *bucket)).shuffle(items)
        batches += _cut(dataset.train, items, batch_size)
    random.Random(seed_of(seed, "order", epoch)).shuffle(batches)
    return batches


def windows(batches: Sequence[Batch], accumulation: int) -> list[list[Batch]]:
    """The batches of each optimizer step: `accumulation` of them, or fewer in the last window of an epoch."""
    return [list(batches[start : start + accumulation]) for start in range(0, len(batches), accumulation)]


def share(batch: Batch, rank: int, world: int) -> Batch:
    """The contiguous slice of a batch that process `rank` of `world` takes; it may be empty."""
    each, extra = divmod(len(batch.items), world)
    start = rank * each + min(rank, extra)
    end = start + each + (rank < extra)
    return Batch(batch.bucket, batch.items[start:end], batch.names[start:end])


def split(window: Sequence[Batch], pieces: int) -> list[Batch]:
    """A window with each batch cut into at most so many pieces: less memory, and the same step to rounding."""
    parts = (share(batch, piece, pieces) for batch in window for piece in range(pieces))
    return [part for part in parts if part.items]


def length(dataset: Dataset, batch_size: int, accumulation: int, epochs: int | None, steps: int | None) -> Length:
    """How long a training is: steps = epochs x ceil(batches / accumulation).

    `epochs` take precedence where both are given; with `steps` alone the last epoch may end early. Raises ValueError
    where neither is given.
    """
    if epochs is None and steps is None:
        raise ValueError("give epochs or steps")
    counts: Counter[Size] = Counter()
    for picture in dataset.train:
        counts[picture.bucket] += picture.repeats
    batches = sum(math.ceil(count / batch_size) for count in counts.values())
    per_epoch = math.ceil(batches / accumulation)
    if epochs is None:
        total = steps or 0
        return Length(counts.total(), batches, per_epoch, math.ceil(total / per_epoch), total)
    return Length(counts.total(), batches, per_epoch, epochs, epochs * per_epoch)


def _by_bucket(pictures: Sequence[Picture]) -> dict[Size, list[Item]]:
    groups: dict[Size, list[Item]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        groups[picture.bucket] += [Item(index, repeat) for repeat in range(picture.repeats)]
    return groups


def _cut(pictures: Sequence[Picture], items: Sequence[Item], batch_size: int) -> list[Batch]:
    parts = [tuple(items[start : start + batch_size]) for start in range(0, len(items), batch_size)]
    return [
        Batch(pictures[part[0].index].bucket, part, tuple(pictures[item.index].name for item in part)) for part in parts
    ]

"""Batches: every item once, one bucket each, an order of (seed, epoch) alone; shares and lengths."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from sweeplora.data.batches import Batch, Item, length, plan, share, split, windows
from sweeplora.data.buckets import Size
from sweeplora.data.dataset import Dataset
from tests.data.folders import dataset, entry


def _dataset(*counts: tuple[tuple[int, int], int, int]) -> Dataset:
    """Pictures by (bucket, how many, repeats)."""
    return dataset([entry(size, number, repeats) for size, many, repeats in counts for number in range(many)])


UNEVEN = _dataset(((64, 64), 7, 1), ((80, 48), 3, 2), ((48, 80), 1, 1))


def test_every_image_comes_as_often_as_it_repeats() -> None:
    items = Counter(item for batch in plan(UNEVEN, 4, seed=0, epoch=1) for item in batch.items)
    expected = [Item(index, repeat) for index, one in enumerate(UNEVEN.train) for repeat in range(one.repeats)]
    assert items == Counter(expected)


def test_a_batch_holds_one_bucket_and_names_its_files() -> None:
    for batch in plan(UNEVEN, 4, seed=0, epoch=1):
        pictures = [UNEVEN.train[item.index] for item in batch.items]
        assert {picture.bucket for picture in pictures} == {batch.bucket}
        assert batch.names == tuple(picture.name for picture in pictures)


def test_only_the_last_batch_of_a_bucket_is_short() -> None:
    sizes: dict[Size, list[int]] = {}
    for batch in plan(UNEVEN, 4, seed=0, epoch=1):
        sizes.setdefault(batch.bucket, []).append(len(batch.items))
    assert {bucket: sorted(counts) for bucket, counts in sizes.items()} == {
        (64, 64): [3, 4],
        (80, 48): [2, 4],
        (48, 80): [1],
    }


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    assert plan(UNEVEN, 4, seed=3, epoch=2) == plan(UNEVEN, 4, seed=3, epoch=2)
    orders = {tuple(plan(UNEVEN, 4, seed=seed, epoch=epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_buckets_are_mixed() -> None:
    even = _dataset(((64, 64), 40, 1), ((80, 48), 40, 1))
    buckets = [batch.bucket for batch in plan(even, 4, seed=0, epoch=1)]
    changes = sum(a != b for a, b in itertools.pairwise(buckets))
    assert changes > 3  # sorted by bucket it would be 1


def test_regularisation_images_share_batches_with_the_others() -> None:
    pictures = [entry((64, 64), number) for number in range(24)]
    regular = [replace(one, treatment=replace(one.treatment, is_reg=True)) for one in pictures[12:]]
    mixed = dataset([*pictures[:12], *regular])
    batches = plan(mixed, 4, seed=0, epoch=1)
    kinds = [{mixed.train[item.index].treatment.is_reg for item in batch.items} for batch in batches]
    assert len(batches) == 6
    assert {True, False} in kinds


def test_windows_take_the_accumulation_and_the_last_may_be_short() -> None:
    batches = plan(UNEVEN, 4, seed=0, epoch=1)
    assert [len(window) for window in windows(batches, 2)] == [2, 2, 1]
    assert [batch for window in windows(batches, 2) for batch in window] == batches


@pytest.mark.parametrize("pieces", [1, 2, 4, 8])
def test_pieces_of_a_window_hold_its_images_in_order(pieces: int) -> None:
    for window in windows(plan(UNEVEN, 4, seed=0, epoch=1), 2):
        parts = split(window, pieces)
        assert [item for part in parts for item in part.items] == [item for batch in window for item in batch.items]
        assert max(len(part.items) for part in parts) == max(-(-len(batch.items) // pieces) for batch in window)
        assert len(parts) <= pieces * len(window)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_shares_are_contiguous_even_and_complete(count: int, world: int) -> None:
    items = tuple(Item(index, 0) for index in range(count))
    batch = Batch(Size(64, 64), items, tuple(map(str, range(count))))
    parts = [share(batch, rank, world) for rank in range(world)]
    assert tuple(item for part in parts for item in part.items) == items
    assert tuple(name for part in parts for name in part.names) == batch.names
    counts = [len(part.items) for part in parts]
    assert max(counts) - min(counts) <= 1


def test_steps_are_epochs_times_windows() -> None:
    # buckets of 7, 6 (3 images twice) and 1: 2 + 2 + 1 batches of 4, ceil(5 / 2) = 3 steps an epoch
    planned = length(UNEVEN, batch_size=4, accumulation=2, epochs=8, steps=None)
    assert planned == (14, 5, 3, 8, 24)
    assert planned.steps == 8 * len(windows(plan(UNEVEN, 4, seed=0, epoch=1), 2))


def test_steps_alone_may_end_inside_an_epoch() -> None:
    assert length(UNEVEN, 4, 2, None, 10)[3:] == (4, 10)
    assert length(UNEVEN, 4, 2, None, 9)[3:] == (3, 9)


def test_epochs_win_over_steps() -> None:
    assert length(UNEVEN, 4, 2, 1, 100).steps == 3

"""The validation split: disjoint, complete, seeded, by content."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from sweeplora.data.split import refuse_shared, split
from sweeplora.errors import UserError
from tests.data.folders import entry

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(("count", "share"), [*itertools.product(range(3, 12), (0.2, 0.25, 0.3, 0.5, 0.7))])
def test_no_image_is_in_both_parts_and_none_is_lost(count: int, share: float) -> None:
    # The reference rounds its parts apart: of 3 images and one half, one is in both.
    pictures = [entry((64, 64), number) for number in range(count)]
    train, held_out = split(pictures, share, 0, NONE)
    assert {one.name for one in train}.isdisjoint(one.name for one in held_out)
    assert len(train) + len(held_out) == count
    assert len(held_out) == round(share * count)


def test_a_new_image_moves_few_others() -> None:
    pictures = [entry((64, 64), number) for number in range(101)]
    before = {one.name for one in split(pictures[:100], 0.2, 3, NONE)[1]}
    after = {one.name for one in split(pictures, 0.2, 3, NONE)[1]}
    assert len(before ^ after) <= 2


def test_every_image_is_held_out_as_often_as_any_other() -> None:
    pictures = [entry((64, 64), number) for number in range(10)]
    counts = [0] * 10
    for seed in range(2000):
        for one in split(pictures, 0.3, seed, NONE)[1]:
            counts[pictures.index(one)] += 1
    assert all(abs(count / 2000 - 0.3) < 0.05 for count in counts)  # five standard deviations


def test_barred_contents_stay_in_training() -> None:
    pictures = [entry((64, 64), number) for number in range(6)]
    barred = frozenset(one.sha256 for one in pictures[:3])
    for seed in range(20):
        train, held_out = split(pictures, 0.34, seed, barred)
        assert len(held_out) == 1
        assert barred <= {one.sha256 for one in train}


def test_a_held_out_image_under_another_name_is_found() -> None:
    one = entry((64, 64), 0)
    with pytest.raises(UserError, match=r"data.val_dir=v: 1 of its images .* \(first: again is \(64, 64\)-0\)"):
        refuse_shared([one], [replace(one, name="again")], "v")

"""The validation split: disjoint, complete, seeded, by content; regularisation images: as many as are trained on."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeplora.data.split import balanced, refuse_shared, split
from sweeplora.errors import UserError
from sweeplora.randomness import seed_of
from tests.data.folders import entry, picture, settings, several

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


_CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "expected" / "regular.json").read_text())[
    "cases"
]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case['train']} {case['regular']}")
def test_repeats_are_those_of_the_reference(case: dict[str, Any]) -> None:
    wanted = sum(count * repeats for count, repeats in case["train"])
    pictures = [entry((64, 64), number, repeats) for count, repeats in case["regular"] for number in range(count)]
    assert [one.repeats for one in balanced(pictures, wanted)] == case["repeats"]


def test_repeats_grow_one_at_a_time_in_turn_until_there_are_enough() -> None:
    for wanted in range(60):
        repeats = [3, 1, 2]
        counts: list[int] = []
        while sum(counts) < wanted and len(counts) < len(repeats):
            counts.append(repeats[len(counts)])
        turn = 0
        while sum(counts) < wanted:
            counts[turn % len(counts)] += 1
            turn += 1
        pictures = [entry((64, 64), number, count) for number, count in enumerate(repeats)]
        assert [one.repeats for one in balanced(pictures, wanted)] == counts


def test_the_folder_of_regularisation_images_balances_what_is_left_to_train_on(tmp_path: Path) -> None:
    several(tmp_path / "train" / "3_cats", 8)
    for number in range(5):
        picture(tmp_path / "reg" / f"{number}.png", seed=100 + number)
    folder = settings(tmp_path / "train", reg_dir=str(tmp_path / "reg"), val_split=0.25, prior_loss_weight=0.5)
    dataset = folder.read(16, 64)
    regular = [one for one in dataset.train if one.treatment.is_reg]
    assert dataset.prior_loss_weight == 0.5
    assert sum(one.repeats for one in dataset.train if not one.treatment.is_reg) == 18
    assert [one.repeats for one in regular] == [4, 4, 4, 3, 3]
    assert [one.treatment.is_reg for one in dataset.train] == [False] * 6 + [True] * 5
    assert not any(one.treatment.is_reg for one in dataset.validation)


def test_an_image_that_regularises_is_never_held_out(tmp_path: Path) -> None:
    several(tmp_path / "train", 4)
    several(tmp_path / "reg", 3)  # the first three again
    dataset = settings(tmp_path / "train", reg_dir=str(tmp_path / "reg"), val_split=0.0).read(16, 64)
    assert len(dataset.train) == 7
    folder = settings(tmp_path / "train", reg_dir=str(tmp_path / "reg"), val_split=0.5)
    with pytest.raises(UserError, match=r"data.val_split=0.5: of 1 images"):
        folder.read(16, 64)


def test_held_out_images_of_a_folder_must_not_regularise(tmp_path: Path) -> None:
    several(tmp_path / "train", 2)
    picture(tmp_path / "reg" / "r.png", seed=50)
    picture(tmp_path / "val" / "v.png", seed=50)
    folder = settings(tmp_path / "train", reg_dir=str(tmp_path / "reg"), val_dir=str(tmp_path / "val"))
    with pytest.raises(UserError, match=r"data.val_dir=.*1 of its images are trained on too \(first: v.png is r.png\)"):
        folder.read(16, 64)


def test_a_weight_without_regularisation_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"data.prior_loss_weight=0.5: has no effect without data.reg_dir"):
        settings(Path("x"), prior_loss_weight=0.5)


def test_twins_stay_on_one_side(tmp_path: Path) -> None:
    several(tmp_path / "set", 12)
    for number in range(12):
        with Image.open(tmp_path / "set" / f"{number:03}.png") as image:
            image.save(tmp_path / "set" / f"{number:03}.webp", quality=50)  # the same name, other levels
            image.save(tmp_path / "set" / f"copy-{number}.bmp")  # the same levels, another name
        (tmp_path / "set" / f"copy-{number}.txt").write_text("copy")
    for seed in range(5):
        dataset = settings(tmp_path / "set", val_split=0.25, validation_seed=seed).read(16, 64)
        train, held_out = ({one.name for one in part} for part in (dataset.train, dataset.validation))
        assert len(held_out) == 9
        numbers = {int(name.split(".")[0].removeprefix("copy-")) for name in held_out}
        assert len(numbers) == 3
        assert train.isdisjoint(held_out)


def test_a_split_without_twins_is_the_one_of_the_contents_alone() -> None:
    pictures = [entry((64, 64), number) for number in range(40)]
    ranked = sorted((one.sha256 for one in pictures), key=lambda content: seed_of(7, "split", content))
    assert {one.sha256 for one in split(pictures, 0.25, 7, NONE)[1]} == set(ranked[:10])


def test_a_held_out_image_in_another_format_is_found(tmp_path: Path) -> None:
    several(tmp_path / "set", 2)
    (tmp_path / "val").mkdir()
    with Image.open(tmp_path / "set" / "001.png") as image:
        image.save(tmp_path / "val" / "other.webp", lossless=True)
    (tmp_path / "val" / "other.txt").write_text("x")
    with pytest.raises(UserError, match=r"data.val_dir=.*\(first: other.webp is 001.png\)"):
        settings(tmp_path / "set", val_dir=str(tmp_path / "val")).read(16, 64)

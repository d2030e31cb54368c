"""Regularisation images: as many as training images, never held out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeplora.data.regularisation import balanced
from sweeplora.errors import UserError
from tests.data.folders import entry, picture, settings, several

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

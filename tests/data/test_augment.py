"""Changes of colour: how often, how much, and the reference's own numbers."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sweeplora.data.augment import change_color, raise_levels, turn_hue

REFERENCE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "expected" / "color.json").read_text())


def _palette() -> Image.Image:
    return Image.fromarray(np.array(REFERENCE["colors"], np.uint8).reshape(5, 8, 3))


def _levels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).reshape(-1, 3).astype(np.int64)


@pytest.mark.parametrize("power", REFERENCE["gamma"])
def test_levels_are_raised_exactly_as_in_the_reference(power: str) -> None:
    np.testing.assert_array_equal(_levels(raise_levels(_palette(), float(power))), REFERENCE["gamma"][power])


@pytest.mark.parametrize("shift", REFERENCE["hue"])
def test_hues_turn_as_in_the_reference_but_for_rounding(shift: str) -> None:
    # It reads the picture's red as blue, so that it turns the other way; both ways are as likely.
    turned = _levels(turn_hue(_palette(), -2 * float(shift)))
    difference = np.abs(turned - np.array(REFERENCE["hue"][shift]))
    assert difference.max() <= 8  # its hues are whole steps of 2 degrees, rounded down
    assert difference.mean() < 1
    unchanged = np.abs(_levels(_palette()) - np.array(REFERENCE["hue"][shift]))
    assert unchanged.mean() > 3 * difference.mean()


def test_grey_has_no_hue_to_turn() -> None:
    grey = Image.new("RGB", (4, 4), (90, 90, 90))
    assert np.array_equal(np.asarray(turn_hue(grey, 16)), np.asarray(grey))


def test_a_third_of_the_pictures_change_half_of_them_in_hue() -> None:
    red = Image.new("RGB", (1, 1), (200, 0, 0))

    def kind(seed: int) -> str:
        changed = change_color(red, random.Random(seed))
        if changed is red:
            return "same"
        return "gamma" if changed.getpixel((0, 0))[1:] == (0, 0) else "hue"  # type: ignore[index]

    counts = Counter(kind(seed) for seed in range(6000))
    # A turn below 0.7 degrees is rounded to none: 4 % of the hues look like a change of levels here.
    assert abs(counts["same"] - 0.67 * 6000) < 182  # five standard deviations
    assert abs(counts["hue"] - 0.165 * 0.96 * 6000) < 142
    assert abs(counts["gamma"] - 0.165 * 1.04 * 6000) < 146


def test_the_power_stays_within_its_range() -> None:
    white = Image.new("RGB", (1, 1), (255, 128, 255))
    seen = [change_color(white, random.Random(seed)).getpixel((0, 0)) for seed in range(2000)]
    lowest = min(level[0] for level in seen)  # type: ignore[index]
    assert lowest >= int(255**0.95)
    assert lowest <= int(255**0.953)

"""The numbers of sd-scripts itself: buckets, and what its captions become how often."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeplora.data.buckets import BucketGrid, Placement, Size, bucket_sizes, place
from sweeplora.data.captions import CaptionRules, Moment, render
from tests.data.folders import RULES

_EXPECTED = Path(__file__).parents[1] / "expected"
_BUCKETS: list[dict[str, Any]] = json.loads((_EXPECTED / "buckets.json").read_text())["settings"]
_CAPTIONS: list[dict[str, Any]] = json.loads((_EXPECTED / "captions.json").read_text())["cases"]
_RANDOM = [case for case in _CAPTIONS if case["draws"] > 1]
_CERTAIN = [case for case in _CAPTIONS if case["draws"] == 1]


def _sizes() -> list[tuple[int, int]]:
    """Some thousand image sizes: a coarse net, whole steps, and a line of pseudo-random ones."""
    sizes = [(width, height) for width in range(64, 4200, 83) for height in range(64, 4200, 89)]
    sizes += [(width, height) for width in range(256, 2049, 64) for height in range(256, 2049, 64)]
    state = 1
    for _ in range(1500):
        pair = []
        for _ in range(2):
            state = (state * 1103515245 + 12345) % 2**31
            pair.append(33 + state // 7 % 5000)
        sizes.append((pair[0], pair[1]))
    return sizes


SIZES = _sizes()


def _grid(settings: dict[str, Any]) -> BucketGrid:
    resolution = Size(*settings["resolution"])
    area = resolution.width * resolution.height
    if settings["no_upscale"]:
        return BucketGrid((), area, settings["step"])
    if settings["step"] is None:
        return BucketGrid((resolution,), area, 64)
    return BucketGrid(tuple(bucket_sizes(resolution, settings["min"], settings["max"], settings["step"])), area, 64)


def _numbers(placed: Placement) -> list[int] | None:
    """As they are written down of the reference: nothing where an image is too narrow for any bucket."""
    return None if 0 in placed.bucket else [*placed.bucket, *placed.scaled]


@pytest.mark.parametrize("settings", _BUCKETS, ids=lambda one: f"{one['resolution']}-{one['step']}-{one['min']}")
def test_thousands_of_images_go_to_the_buckets_of_the_reference(settings: dict[str, Any]) -> None:
    grid = _grid(settings)
    assert [list(size) for size in grid.sizes] == settings["buckets"]
    found = [_numbers(place(width, height, grid)) for width, height in SIZES]
    assert found[::150] == settings["samples"]
    assert hashlib.sha256(json.dumps(found).encode()).hexdigest() == settings["sha256"]


def _rules(case: dict[str, Any]) -> CaptionRules:
    given = dict(case["rules"])
    if "replacements" in given:
        given["replacements"] = tuple((old, tuple(new)) for old, new in given["replacements"])
    return replace(RULES, **given)


@pytest.mark.parametrize("case", _CERTAIN, ids=lambda case: f"{case['name']} {case['moment']} {case['rules']}")
def test_what_is_not_random_is_what_the_reference_gives(case: dict[str, Any]) -> None:
    assert [render(case["caption"], _rules(case), random.Random(0), Moment(*case["moment"]))] == list(case["counts"])


@pytest.mark.parametrize("case", _RANDOM, ids=lambda case: case["name"])
def test_captions_come_as_often_as_in_the_reference(case: dict[str, Any]) -> None:
    rules, draw, draws = _rules(case), random.Random(1), case["draws"]
    counts = Counter(render(case["caption"], rules, draw, Moment(*case["moment"])) for _ in range(draws))
    for text in sorted({*counts, *case["counts"]}):
        ours, theirs = counts[text] / draws, case["counts"].get(text, 0) / draws
        share = (ours + theirs) / 2
        deviation = math.sqrt(2 * share * (1 - share) / draws)
        assert abs(ours - theirs) < 5 * deviation + 1e-9, text
    seldom = 10 / draws
    assert not [text for text in counts if text not in case["counts"] and counts[text] / draws > seldom]

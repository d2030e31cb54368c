"""Samplers by the names users know."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from sweeplora.models import sdxl
from sweeplora.models.sdxl import SDXL
from sweeplora.prompts import Prompt, Sampler
from sweeplora.sample import Sample, draw


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> SDXL:
    return sdxl.load(str(tiny_model), "tiny", None, None, False)


def settings(sampler: str) -> Sample:
    return Sample("none", 0, 0, True, True, sampler, 4, 3.0, 1)


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_draws_the_same_picture_twice(sampler: str, model: SDXL) -> None:
    one, two = (draw(model, Prompt("a shape"), settings(sampler), 64) for _ in range(2))
    assert one.shape == (3, 64, 64) and bool(one.isfinite().all())
    assert torch.equal(one, two)


def test_a_prompt_says_what_the_settings_leave_open(model: SDXL) -> None:
    wide = draw(model, Prompt("a shape", width=100, height=48), settings("euler"), 64)
    assert wide.shape == (3, 48, 96)
    other = draw(model, Prompt("a shape", seed=2), settings("euler"), 64)
    assert not torch.equal(other, draw(model, Prompt("a shape"), settings("euler"), 64))


def test_without_guidance_the_negative_prompt_does_not_matter(model: SDXL) -> None:
    one, two = (draw(model, Prompt("a shape", negative=n, guidance=1.0), settings("ddim"), 64) for n in ("", "dull"))
    assert torch.equal(one, two)


def test_previews_are_due_at_the_ends_and_in_between() -> None:
    every = Sample("none", 2, 0, False, True, "euler", 4, 3.0, 1)
    assert [epoch for epoch in range(6) if every.due(epoch, 5)] == [2, 4, 5]
    assert not Sample("none", 0, 0, False, False, "euler", 4, 3.0, 1).draws

"""Which previews are drawn together."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.data.buckets import Size
from sweeplora.training.previews.batches import Places, in_batches, waiting_notice
from sweeplora.training.previews.prompt import Prompt
from sweeplora.training.previews.settings import Sample

PLACES = Places(divisor=64, scale_factor=8)


def batches(prompts: list[Prompt], side: int, **changes: Any) -> list[list[int]]:
    given: dict[str, Any] = {"prompts": None, "every_epochs": 0, "every_steps": 0, "at_first": True, "at_last": True}
    given |= {"sampler": "euler", "karras": False, "steps": 20, "guidance": 5.0, "seed": 1, "weighted": True}
    return in_batches(prompts, Sample(**(given | changes)), Size(side, side), PLACES)


def test_prompts_of_one_size_and_sampling_are_drawn_together() -> None:
    alike = [Prompt("a"), Prompt("b", seed=3, guidance=2.0, negative="c"), Prompt("d", width=70, height=64)]
    others = [Prompt("a", width=128), Prompt("a", steps=5), Prompt("a", sampler="ddim"), Prompt("a", guidance=1.0)]
    assert batches([alike[0], *others, *alike[1:]], 64) == [[0, 5, 6], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("side", "guidance", "most"),
    [(64, 5.0, 16), (512, 5.0, 4), (512, 1.0, 8), (1024, 5.0, 1), (1024, 1.0, 2), (2048, 5.0, 1)],
)
def test_as_many_are_drawn_together_as_a_full_size_model_has_memory_for(side: int, guidance: float, most: int) -> None:
    sizes = [len(batch) for batch in batches([Prompt("a")] * 17, side, guidance=guidance)]
    assert max(sizes) == most and sum(sizes) == 17


@pytest.mark.parametrize(("num_batches", "processes", "waiting"), [(5, 4, 3), (1, 2, 1), (7, 3, 2)])
def test_a_remainder_that_idles_processes_is_said(num_batches: int, processes: int, waiting: int) -> None:
    said = waiting_notice(num_batches, processes)
    assert said is not None and f"drawn in {num_batches} batch" in said
    assert f"by {processes} processes: {waiting} of them wait" in said


@pytest.mark.parametrize(("num_batches", "processes"), [(4, 4), (6, 3), (5, 1), (0, 2)])
def test_batches_that_share_out_evenly_are_not_worth_a_line(num_batches: int, processes: int) -> None:
    assert waiting_notice(num_batches, processes) is None

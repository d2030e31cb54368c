"""The noise schedule of both families, with and without zero terminal SNR."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sweeplora.models.loaded import alphas_cumprod
from sweeplora.models.reading.inferred_config import shared

EXPECTED = json.loads((Path(__file__).parents[1] / "expected/schedule.json").read_text())


def products(family: str, *, zero_terminal: bool) -> torch.Tensor:
    return alphas_cumprod({**shared(family, "scheduler"), "rescale_betas_zero_snr": zero_terminal})


def betas(family: str) -> list[float]:
    """The paper's definition in plain Python: roots of the betas in equal steps."""
    config = shared(family, "scheduler")
    first, last = config["beta_start"] ** 0.5, config["beta_end"] ** 0.5
    return [(first + (last - first) * step / 999) ** 2 for step in range(1000)]


def by_hand(family: str) -> list[float]:
    """Lin et al. 2023, algorithm 1, one number after the other: rescaled betas, multiplied up again."""
    product, roots = 1.0, []
    for beta in betas(family):
        product *= 1 - beta
        roots.append(product**0.5)
    first, last = roots[0], roots[-1]
    squares = [((root - last) * first / (first - last)) ** 2 for root in roots]
    rescaled = [1 - squares[0], *(1 - now / before for before, now in pairwise(squares))]
    made, product = [], 1.0
    for beta in rescaled:
        product *= 1 - beta
        made.append(product)
    return made


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_rescaled_betas_are_the_papers(family: str) -> None:
    made = products(family, zero_terminal=True)
    torch.testing.assert_close(made, torch.tensor(by_hand(family), dtype=torch.float64), rtol=1e-9, atol=1e-14)
    assert made[-1] == 0
    assert made[0] == products(family, zero_terminal=False)[0]


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
@pytest.mark.parametrize(("column", "zero_terminal"), [("alphas_cumprod", False), ("zero_terminal", True)])
def test_the_schedule_is_the_references_to_float32(family: str, column: str, zero_terminal: bool) -> None:
    made = products(family, zero_terminal=zero_terminal)[EXPECTED["timesteps"]]
    torch.testing.assert_close(made, torch.tensor(EXPECTED[column], dtype=torch.float64), rtol=2e-5, atol=2e-9)

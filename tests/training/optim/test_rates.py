"""Learning rates of the parts: groups, their rates, the reference's block weights, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sweeplora.convert.network_args.block_rates import expand_blocks
from sweeplora.errors import UserError
from sweeplora.training.optim.rates import Group, Rates, group_of

REFERENCE = json.loads((Path(__file__).parents[2] / "expected" / "block_rates.json").read_text())
PLAIN: dict[str, Any] = {
    "unet": None,
    "text_encoder": None,
    "loraplus_unet": None,
    "loraplus_text_encoder": None,
    "blocks": None,
}


class Parameter(NamedTuple):
    part: str
    block: int | None = None
    plus: bool = False


def group(parameter: Parameter, **given: object) -> Group:
    return group_of(parameter, Rates(**(PLAIN | given)))


def test_without_rates_every_part_is_one_group_at_the_optimizers_rate() -> None:
    every = [Parameter(part, block, plus) for part in ("unet",) for block in (None, 3) for plus in (False, True)]
    every += [Parameter(part, None, plus) for part in ("text_encoder", "text_encoder_2") for plus in (False, True)]
    assert Counter(group(one) for one in every) == {("unet", None, 1.0): 4, ("text_encoder", None, 1.0): 4}


def test_a_part_has_its_own_rate_and_two_encoders_may_have_two() -> None:
    assert group(Parameter("unet"), unet=2e-4) == ("unet", 2e-4, 1.0)
    assert group(Parameter("text_encoder_2"), text_encoder=5e-5) == ("text_encoder", 5e-5, 1.0)
    both = {"text_encoder": [5e-5, 1e-5]}
    assert group(Parameter("text_encoder"), **both) == ("text_encoder", 5e-5, 1.0)
    assert group(Parameter("text_encoder_2"), **both) == ("text_encoder_2", 1e-5, 1.0)
    assert group(Parameter("unet"), **both) == ("unet", None, 1.0)


def test_loraplus_multiplies_the_rate_of_b_of_its_part_alone() -> None:
    given = {"unet": 1e-4, "loraplus_unet": 16.0}
    assert group(Parameter("unet", 4, True), **given) == ("unet_plus", 1e-4, 16.0)
    assert group(Parameter("unet", 4, False), **given) == ("unet", 1e-4, 1.0)
    assert group(Parameter("text_encoder", None, True), **given) == ("text_encoder", None, 1.0)
    assert group(Parameter("text_encoder", None, True), loraplus_text_encoder=4.0).factor == 4.0


def test_blocks_multiply_and_what_is_in_none_keeps_the_parts_rate() -> None:
    given: dict[str, Any] = {"blocks": [0.5, 2.0, 1.0], "loraplus_unet": 8.0}
    assert group(Parameter("unet", 1), **given) == ("unet_block_01", None, 2.0)
    assert group(Parameter("unet", 1, True), **given) == ("unet_block_01_plus", None, 16.0)
    assert group(Parameter("unet", None), **given) == ("unet", None, 1.0)
    assert group(Parameter("text_encoder_2"), **given) == ("text_encoder", None, 1.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unet": 0.0}, r"rates\.unet=0\.0: it would not train; use network\.unet=false"),
        ({"text_encoder": [1e-4, 0.0]}, r"rates\.text_encoder=\[0\.0001, 0\.0\]: it would not train"),
        ({"text_encoder": [1e-4]}, r"rates\.text_encoder=\[0\.0001\]: give one number"),
        ({"blocks": [1.0, 0.0]}, r"rates\.blocks=.*block 1 would not train.*network\.block_dims"),
        ({"loraplus_unet": 0.0}, r"rates\.loraplus_unet=0: B would stay at zero"),
    ],
)
def test_a_rate_that_trains_nothing_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Rates(**(PLAIN | given))


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=str)
def test_block_weights_expand_as_the_references(case: dict[str, Any]) -> None:
    found = expand_blocks(case["num_blocks"], case["down"], case["mid"], case["up"], case["zero_threshold"])
    assert found == pytest.approx(case["weights"], abs=1e-6)


def test_block_weights_by_hand() -> None:
    found = expand_blocks(25, [0.5] * 20, "2", "linear+.5")
    assert found == pytest.approx([*[0.5] * 12, 2.0, *[i / 11 + 0.5 for i in range(12)]])
    assert expand_blocks(23, "0,,1", None, None, 0.0)[:5] == [1.0, 0.0, 0.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="no model has 7 blocks"):
        expand_blocks(7, None, None, None)
    with pytest.raises(ValueError, match="wobble"):
        expand_blocks(23, "wobble", None, None)

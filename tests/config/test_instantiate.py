"""What a config node names, built."""

from __future__ import annotations

import pytest

from sweeplora.config.instantiate import build
from sweeplora.errors import UserError


def test_what_a_target_says_of_its_values_reaches_the_user_as_it_was_said() -> None:
    node = {"_target_": "sweeplora.training.optim.rates.Rates", "unet": 0.0, "text_encoder": None, "blocks": None}
    with pytest.raises(UserError, match=r"^rates\.unet=0\.0: it would not train"):
        build({**node, "loraplus_unet": None, "loraplus_text_encoder": None})


def test_lists_and_mappings_stay_plain() -> None:
    assert type(build({"_target_": "builtins.dict", "a": [1, 2]})["a"]) is list

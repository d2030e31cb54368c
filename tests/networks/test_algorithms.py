"""Options that would have no effect are refused, by the key that is idle."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.errors import UserError
from sweeplora.networks.algorithms import Algorithm, check_norm_limit
from sweeplora.networks.refusals import check_boft
from tests.networks.options import KINDS, options


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_choice_is_an_algorithm(kind: str) -> None:
    assert isinstance(options(kind), Algorithm)


@pytest.mark.parametrize(
    ("kind", "changes", "key"),
    [
        ("locon", {"unet": False}, "network.unet"),
        ("full", {"unet": False}, "network.unet"),
        ("locon", {"preset": "unet-only", "text_encoders": True}, "network.text_encoders"),
        ("ia3", {"preset": "unet-convblock-only", "text_encoders": True}, "network.text_encoders"),
        ("locon", {"preset": "attn-only", "train_norm": True}, "network.train_norm"),
        ("locon", {"unet": False, "text_encoders": True, "train_norm": True}, "network.train_norm"),
        ("locon", {"unet": False, "text_encoders": True, "conv_dim": 4}, "network.conv_dim"),
        ("boft", {"unet": False, "text_encoders": True, "block_dims": [4]}, "network.block_dims"),
        ("locon", {"preset": "attn-mlp", "conv_dim": 4}, "network.conv_dim"),
        ("locon", {"preset": "attn-only", "conv_alpha": 1.0}, "network.conv_alpha"),
        ("glora", {"preset": "full-lin", "conv_block_dims": [4]}, "network.conv_block_dims"),
        ("loha", {"preset": "unet-transformer-only", "use_tucker": True}, "network.use_tucker"),
        ("locon", {"dim_from_weights": True}, "network.dim_from_weights"),
        ("full", {"dim_from_weights": True, "weights": "x"}, "network.dim_from_weights"),
        ("locon", {"dim_from_weights": True, "weights": "x", "block_dims": [4]}, "network.block_dims"),
        ("tlora", {"weights": "x"}, "network.weights"),
        ("tlora", {"min_rank": 9}, "network.min_rank"),
        ("locon", {"dora": True, "dropout": 0.1}, "network.dropout"),
        ("locon", {"bypass_mode": False, "dropout": 0.1}, "network.dropout"),
        ("glora", {"bypass_mode": False, "rank_dropout": 0.1}, "network.rank_dropout"),
        ("locon", {"dora": True, "bypass_mode": True}, "network.bypass_mode"),
        ("lokr", {"wd_on_output": True}, "network.wd_on_output"),
        ("diag-oft", {"rank_dropout_scale": True}, "network.rank_dropout_scale"),
        ("dylora", {"dim": 6}, "network.dim"),
        ("dylora", {"block_dims": [4, 6]}, "network.block_dims"),
        ("lokr", {"full_matrix": True, "decompose_both": True}, "network.decompose_both"),
        ("lokr", {"full_matrix": True, "use_tucker": True}, "network.use_tucker"),
        ("lokr", {"full_matrix": True, "rs_lora": True}, "network.rs_lora"),
        ("lokr", {"full_matrix": True, "conv_dim": 4}, "network.conv_dim"),
        ("lokr", {"full_matrix": True, "block_dims": [4]}, "network.block_dims"),
        ("lokr", {"factor": 0}, "network.factor"),
    ],
)
def test_an_option_without_effect_is_refused_by_name(kind: str, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as caught:
        options(kind, **changes)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("loha", "dropout"),
        ("lokr", "dropout"),
        ("dylora", "rank_dropout"),
        ("dylora", "use_tucker"),
        ("glora", "use_tucker"),
        ("full", "dim"),
        ("full", "bypass_mode"),
        ("ia3", "alpha"),
        ("ia3", "rank_dropout"),
        ("boft", "rank_dropout"),
        ("diag-oft", "alpha"),
        ("tlora", "rank_dropout"),
    ],
)
def test_what_lycoris_ignores_is_no_option(kind: str, option: str) -> None:
    with pytest.raises(TypeError, match=option):
        options(kind, **{option: 0})


def test_a_norm_limit_is_refused_where_nothing_has_one() -> None:
    check_norm_limit("sweeplora.networks.algorithms.LoCon", 1.0)
    check_norm_limit("sweeplora.networks.algorithms.Full", 0.0)
    with pytest.raises(UserError, match=r"train\.max_weight_norm=1\.0: has no effect on Full"):
        check_norm_limit("sweeplora.networks.algorithms.Full", 1.0)


def test_boft_needs_twice_the_largest_odd_part_of_the_outputs() -> None:
    check_boft(10, [(320, 4, 3, 3), (1280, 640), (4, 320, 3, 3)])
    with pytest.raises(UserError, match="needs 10"):
        check_boft(8, [(64, 64), (640, 320)])

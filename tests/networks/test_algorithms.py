"""Options that would have no effect are refused, by the key that is idle."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.errors import UserError
from sweeplora.networks.algorithms import rank_of
from tests.networks.options import options


@pytest.mark.parametrize(
    ("kind", "changes", "key"),
    [
        ("locon", {"preset": "attn-mlp", "conv_dim": 4}, "network.conv_dim"),
        ("locon", {"preset": "attn-only", "conv_alpha": 1.0}, "network.conv_alpha"),
        ("loha", {"preset": "attn-mlp", "use_tucker": True}, "network.use_tucker"),
        ("locon", {"preset": "unet-only", "text_encoders": True}, "network.text_encoders"),
        ("locon", {"dora": True, "dropout": 0.1}, "network.dropout"),
        ("lokr", {"full_matrix": True, "decompose_both": True}, "network.decompose_both"),
        ("lokr", {"full_matrix": True, "use_tucker": True}, "network.use_tucker"),
        ("lokr", {"full_matrix": True, "rs_lora": True}, "network.rs_lora"),
        ("lokr", {"full_matrix": True, "conv_dim": 4}, "network.conv_dim"),
        ("lokr", {"factor": 0}, "network.factor"),
    ],
)
def test_an_option_without_effect_is_refused_by_name(kind: str, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as caught:
        options(kind, **changes)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_neuron_dropout_is_no_option_where_lycoris_ignores_it(kind: str) -> None:
    with pytest.raises(TypeError, match="dropout"):
        options(kind, dropout=0.1)


def test_convolutions_above_1x1_have_their_own_rank_and_alpha() -> None:
    algorithm = options("locon", dim=8, alpha=4.0, conv_dim=2, conv_alpha=1.0)
    assert rank_of(algorithm, (64, 32)) == (8, 4.0)
    assert rank_of(algorithm, (64, 32, 1, 1)) == (8, 4.0)
    assert rank_of(algorithm, (64, 32, 3, 3)) == (2, 1.0)


def test_an_unset_convolution_rank_is_the_networks() -> None:
    assert rank_of(options("locon", dim=8, alpha=4.0), (64, 32, 3, 3)) == (8, 4.0)

"""Every layer has the rank that the numbers of its block say, as in sd-scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from sweeplora.errors import UserError
from sweeplora.networks.blocks import Rank, Ranks, check_counts, encoder_rank, ranks_in, ranks_of
from sweeplora.networks.keys import encoder_layers, unet_layers
from tests.networks.real import LAYOUTS, Real, digest, expected, real

CASES = ["dims", "dims and alphas", "dims, conv_dim", "all", "conv_block_dims over conv_dim"]


def ranks(**changes: Any) -> Ranks:
    return Ranks(**{**dict.fromkeys(Ranks._fields), "dim": 6, "alpha": 3.0, **changes})


def given(options: dict[str, str]) -> Ranks:
    """sd-scripts' arguments as our options; its convolutions' alpha is 1 where nothing else is said."""
    read: dict[str, Any] = {}
    for name, text in options.items():
        numbers = [float(number) for number in text.split(",")]
        if name.endswith(("dims", "dim")):
            numbers = [int(number) for number in numbers]
        read[name] = numbers if "block" in name else numbers[0]
    return ranks(**read)


def ranks_by_key(model: Real, options: Ranks, preset: str) -> dict[str, Rank]:
    found: dict[str, Rank] = {}
    for name, key in unet_layers(model.unet, preset, model.layout).items():
        rank = ranks_of(options, model.layout, name, model.unet[name])
        if rank is not None:
            found[key] = rank
    for encoder, prefix in zip(model.encoders, model.layout.encoder_prefixes, strict=True):
        found |= dict.fromkeys(encoder_layers(encoder, preset, prefix).values(), encoder_rank(options))
    return found


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
@pytest.mark.parametrize("case", CASES)
def test_every_module_of_the_real_model_has_sd_scripts_rank_and_alpha(family: str, case: str) -> None:
    wanted = expected("ranks", family)[case]
    preset = "blocks" if any("conv" in option for option in wanted["options"]) else "attn-mlp"
    found = {
        key: f"{rank.dim} {rank.alpha:g}"
        for key, rank in ranks_by_key(real(family), given(wanted["options"]), preset).items()
    }
    assert dict(Counter(found.values())) == wanted["ranks"]
    assert len(found) == wanted["count"]
    assert digest(f"{key} {rank}" for key, rank in found.items()) == wanted["modules"]


class Place(NamedTuple):
    name: str
    block: int | None


@pytest.mark.parametrize(
    ("family", "places"),
    [
        (
            "sdxl",
            [
                Place("time_embedding.linear_1", 0),
                Place("add_embedding.linear_2", 0),
                Place("conv_in", 1),
                Place("down_blocks.0.resnets.0.conv1", 2),
                Place("down_blocks.0.downsamplers.0.conv", 4),
                Place("down_blocks.2.attentions.1.proj_in", 9),
                Place("mid_block.resnets.0.conv1", 10),
                Place("mid_block.attentions.0.proj_out", 11),
                Place("mid_block.resnets.1.conv1", 12),
                Place("up_blocks.0.resnets.0.conv_shortcut", 13),
                Place("up_blocks.0.upsamplers.0.conv", 15),
                Place("up_blocks.2.resnets.2.conv2", 21),
                Place("conv_out", 22),
            ],
        ),
        (
            "sd15",
            [
                Place("conv_in", 0),
                Place("down_blocks.0.attentions.0.proj_in", 1),
                Place("down_blocks.0.downsamplers.0.conv", 3),
                Place("down_blocks.3.resnets.1.conv2", 11),
                Place("mid_block.attentions.0.proj_in", 12),
                Place("mid_block.resnets.1.conv1", 12),
                Place("up_blocks.0.resnets.0.conv1", 13),
                Place("up_blocks.2.upsamplers.0.conv", 21),
                Place("up_blocks.3.attentions.2.proj_out", 24),
                Place("time_embedding.linear_1", None),
                Place("conv_out", None),
            ],
        ),
    ],
)
def test_layers_are_in_the_blocks_that_users_count(family: str, places: Sequence[Place]) -> None:
    block_of = LAYOUTS[family].block_of
    assert [Place(place.name, block_of(place.name)) for place in places] == list(places)


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_no_layer_of_the_real_model_is_in_a_block_that_does_not_exist(family: str) -> None:
    model = real(family)
    blocks = {model.layout.block_of(name) for name in [*model.unet, *model.norms]}
    outside = {None} if family == "sd15" else set()
    assert blocks == set(range(model.layout.num_blocks)) | outside


def test_a_block_without_its_own_convolution_rank_takes_its_linear_one() -> None:
    """LyCORIS' meaning of an unset conv_dim, carried over to blocks."""
    options = ranks(block_dims=list(range(1, 24)), block_alphas=[0.5] * 23)
    assert ranks_of(options, LAYOUTS["sdxl"], "mid_block.resnets.0.conv1", (8, 8, 3, 3)) == Rank(11, 0.5)
    assert ranks_of(ranks(), LAYOUTS["sdxl"], "mid_block.resnets.0.conv1", (8, 8, 3, 3)) == Rank(6, 3.0)


def test_rank_zero_leaves_a_layer_out_and_alpha_zero_is_the_rank() -> None:
    options = ranks(block_dims=[0] * 12 + [4] * 13, block_alphas=[0.0] * 25)
    layout = LAYOUTS["sd15"]
    assert ranks_of(options, layout, "down_blocks.0.resnets.0.time_emb_proj", (8, 8)) is None
    assert ranks_of(options, layout, "mid_block.resnets.0.time_emb_proj", (8, 8)) == Rank(4, 4.0)
    assert ranks_of(options, layout, "time_embedding.linear_1", (8, 8)) == Rank(6, 3.0)


@pytest.mark.parametrize(("family", "wrong", "right"), [("sdxl", 25, 23), ("sd15", 23, 25)])
@pytest.mark.parametrize("option", ["block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"])
def test_a_wrong_count_names_the_right_one(family: str, wrong: int, right: int, option: str) -> None:
    check_counts({option: [1] * right}, LAYOUTS[family])
    with pytest.raises(UserError, match=f"{wrong} numbers, .* has {right} blocks: .*give {right}") as caught:
        check_counts({option: [1] * wrong, "dim": 4}, LAYOUTS[family])
    assert caught.value.key == f"network.{option}"
    assert "\n" not in str(caught.value)


def test_ranks_are_read_from_a_config_and_missed_where_an_algorithm_has_none() -> None:
    options = ranks(conv_dim=2)
    assert ranks_in({**options._asdict(), "preset": "full"}) == options
    assert ranks_in({"preset": "full"}) is None

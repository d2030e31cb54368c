"""Weights are called after what a study searched, each trial's otherwise, in names that every file system takes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.naming import Naming, Swept, check_template, read_naming, weights_stem, write_naming

TEMPLATE = "{name}-{swept}"
SIGNATURE = "0123456789ab"


def stem(swept: dict[str, Any], template: str = TEMPLATE, name: str = "emoji-twemoji") -> str:
    return weights_stem(template, name, SIGNATURE, swept)


@pytest.mark.parametrize(
    ("swept", "wanted"),
    [
        ({}, "emoji-twemoji"),
        ({"network.dim": 8, "network.alpha": 4}, "emoji-twemoji-dim8-alpha4"),
        ({"network": "locon", "optimizer.lr": 0.001}, "emoji-twemoji-network_locon-lr0.001"),
        ({"optimizer.lr": 1e-05}, "emoji-twemoji-lr1e-05"),
        ({"network.dora": True, "network.conv_dim": None}, "emoji-twemoji-dora_true-conv_dim_null"),
        ({"network.dropout": 0.1, "data.dropout": 0.2}, "emoji-twemoji-network_dropout0.1-data_dropout0.2"),
        ({"optimizer.lr": 0.00123456}, "emoji-twemoji-lr0.001235-012345"),
        ({"model.path": "/models/a b.ckpt"}, "emoji-twemoji-path__models_a_b.ckpt-012345"),
    ],
)
def test_what_was_searched_is_in_the_name(swept: dict[str, Any], wanted: str) -> None:
    assert stem(swept) == wanted


def test_long_names_are_cut_and_stay_apart() -> None:
    swept = {f"network.option_{number}": "word" * 3 for number in range(20)}
    name, signatures = "\N{CJK UNIFIED IDEOGRAPH-732B}" * 60, ("0123456789ab", "ba9876543210")
    made = {weights_stem(TEMPLATE, name, signature, swept) for signature in signatures}
    assert len(made) == 2
    assert all(len(one.encode()) <= 200 for one in made)


def test_trials_of_one_study_never_share_a_name() -> None:
    points = itertools.product((4, 8), (1e-3, 1.00001e-3, 0.001000011), ("a/b", "a b", "a_b"))
    swept: list[Swept] = [{"network.dim": dim, "optimizer.lr": lr, "model.vae": vae} for dim, lr, vae in points]
    made = [weights_stem(TEMPLATE, "x", f"{number:06x}000000", one) for number, one in enumerate(swept)]
    assert len(set(made)) == len(swept)


def test_a_template_that_leaves_out_what_was_searched_gets_the_signature() -> None:
    assert stem({"network.dim": 8}, "{name}") == "emoji-twemoji-012345"
    assert stem({"network.dim": 8}, "{swept}_of_{name}") == "dim8_of_emoji-twemoji"
    assert stem({"network.dim": 8}, "{signature}") == SIGNATURE
    assert stem({}, "{name}") == "emoji-twemoji"


@pytest.mark.parametrize("template", ["{nam}", "{", "a/b", "{name!z}", "{0}", "{}", "-", "{name.upper}"])
def test_a_template_that_makes_no_name_is_refused(template: str) -> None:
    with pytest.raises(UserError, match="file_name=") as caught:
        check_template(template)
    assert "{name}, {swept}, {signature}" in str(caught.value)


def test_a_folder_without_names_of_its_own_has_the_configurations(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert read_naming(run, "mine") == Naming("mine", "mine")
    assert Naming("mine", "mine").title == "mine"
    write_naming(run, Naming("mine", "mine-dim8", SIGNATURE))
    assert read_naming(run, "other") == Naming("mine", "mine-dim8", SIGNATURE)
    assert read_naming(run, "other").title == "mine-01234567"

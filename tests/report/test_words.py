"""Searched values as people read them in narrow columns."""

from __future__ import annotations

import pytest

from sweeplora.report.words import brief_values

RANK, ALPHA, RATE = {"network.dim": 16}, {"network.alpha": 4}, {"optimizer.lr": 0.0058606}


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, ""),
        (RANK, "dim 16"),
        ({**RANK, **RATE}, "dim 16 · lr 0.00586"),
        ({"network.dim": 4, "optimizer": "lion"}, "dim 4 · optimizer lion"),
        ({**RANK, **ALPHA, **RATE}, "dim16 alp4 lr.0059"),
        ({**RANK, "optimizer": "prodigy", "optimizer.lr": 3e-5}, "dim16 prodigy lr3e-5"),
        ({**RANK, "data.flip": True, "network.conv_dim": None}, "dim16 fli=true con=null"),
        ({**RANK, **ALPHA, **RATE, "network.dropout": 0.1}, "16 · 4 · .0059 · .1"),
        ({**RANK, **ALPHA, **RATE, "network.dropout": 0.1, "seed": 3}, "16 4 .0059 .1 3"),
        ({**RANK, **ALPHA, "optimizer.lr": 1.0}, "dim16 alp4 lr1"),
        ({**RANK, **ALPHA, "optimizer.lr": -0.25}, "dim16 alp4 lr-.25"),
        ({**RANK, **ALPHA, "optimizer.lr": 1e-12}, "dim16 alp4 lr1e-12"),
    ],
)
def test_a_name_says_the_values_and_as_much_of_the_keys_as_fits(params: dict[str, object], name: str) -> None:
    assert brief_values(params) == name


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({**RANK, "optimizer.lr": 0.0059}, "dim 16 · lr 59e-4"),
        ({**RANK, **ALPHA, **RATE}, "dim16 alp4 lr59e-4"),
        ({**RANK, **ALPHA, "optimizer.lr": -0.25}, "dim16 alp4 lr-25e-2"),
        ({**RANK, **ALPHA, "optimizer.lr": 20.0}, "dim16 alp4 lr20"),
        ({**RANK, **ALPHA, "optimizer.lr": 1.2345e-12}, "dim16 alp4 lr12e-13"),
        ({"optimizer.d0": 0.0}, "d0 0"),
        ({"optimizer.lr": float("inf")}, "lr inf"),
        ({"model": "sd1.5"}, "model sd1.5"),
    ],
)
def test_a_name_without_points_says_the_same_numbers(params: dict[str, object], name: str) -> None:
    assert brief_values(params, points=False) == name


def test_all_trials_of_a_search_have_names_of_one_form() -> None:
    named = [
        brief_values({"network.dim": rank, "optimizer.lr": rate}) for rank in (2, 128) for rate in (1e-3, 0.012345)
    ]
    assert [name.split()[::2] for name in named] == [["dim", "·", "0.001"], ["dim", "·", "0.0123"]] * 2

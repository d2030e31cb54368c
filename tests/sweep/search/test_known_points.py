"""Points of sweep.enqueue: matched with the space, its branches included."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.errors import UserError
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.known_points import first_of, read_points
from sweeplora.sweep.search.rules import Rules, read_constraints

SPACE = parse_space(
    {
        "network": "choice(locon, lokr)",
        "network=lokr": {"network.factor": "choice(-1, 4)"},
        "network=locon": {"network.block_dims": "choice([1,2], [4,8])"},
        "network.dim": "range(2, 10, 2)",
        "optimizer.lr": "tag(log, interval(1e-5, 1e-2))",
    }
)
FREE = Rules((), SPACE, lambda words: {})


def test_points_become_parameters_of_their_branch_and_may_be_incomplete() -> None:
    written = [
        {"network": "lokr", "network.factor": 4, "network.dim": 4, "optimizer.lr": 1e-3},
        {"network": "locon", "network.block_dims": [4, 8], "network.dim": 2.0},
        {"optimizer.lr": 0.01},
    ]
    assert read_points(written, SPACE, FREE) == (
        {"network": "lokr", "network.factor [network=lokr]": 4, "network.dim": 4, "optimizer.lr": 1e-3},
        {"network": "locon", "network.block_dims [network=locon]": "[4,8]", "network.dim": 2},
        {"optimizer.lr": 0.01},
    )


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"network.dim": 3}, r"enqueue\[0\]\.network\.dim=3: lies outside of range\(2, 10, 2\)"),
        ({"network.dim": True}, "lies outside"),
        ({"network": "loha"}, "lies outside of choice"),
        ({"optimizer.lr": 0.5}, "lies outside of tag"),
        ({"network.dims": 4}, r"is not searched; .*did you mean network\.dim"),
        ({"network": "locon", "network.factor": 4}, r"exists only under network=lokr"),
        ({"network.factor": 4}, "give that choice in the same point"),
        ({}, "give a mapping"),
        (7, "give a mapping"),
    ],
)
def test_a_point_outside_the_space_is_refused(point: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_points([point], SPACE, FREE)


def test_a_point_given_twice_or_against_a_constraint_is_refused() -> None:
    with pytest.raises(UserError, match=r"enqueue\[1\].*is given twice"):
        read_points([{"network.dim": 4}, {"network.dim": 4.0}], SPACE, FREE)
    space = parse_space({"a": "choice(1, 2)", "b": "choice(1, 2)"})
    ordered = read_constraints(["a <= b"], space, lambda words: {"a": 1, "b": 1})
    with pytest.raises(UserError, match=r"breaks sweep\.constraints a <= b"):
        read_points([{"a": 2, "b": 1}], space, ordered)
    assert read_points([{"a": 2}], space, ordered) == ({"a": 2},)


def test_a_part_of_a_point_that_nothing_completes_within_the_constraints_is_refused() -> None:
    space = parse_space({"a": "choice(1, 2)", "b": "choice(1, 2)"})
    strict = read_constraints(["a < b"], space, lambda words: {"a": 1, "b": 1})
    with pytest.raises(UserError, match=r"enqueue\[1\].*breaks sweep\.constraints a < b whatever its other keys are"):
        read_points([{"a": 1}, {"a": 2}], space, strict)


def test_what_is_no_list_of_points_is_refused() -> None:
    with pytest.raises(UserError, match="give a list of points"):
        read_points("network.dim=4", SPACE, FREE)


def test_a_grid_begins_with_the_points_that_were_asked_for() -> None:
    grid: list[dict[str, Any]] = [{"a": a, "b": b} for a in (1, 2) for b in (1, 2)]
    assert first_of(grid, [{"a": 2, "b": 2}, {"b": 1}]) == [3, 0, 2, 1]

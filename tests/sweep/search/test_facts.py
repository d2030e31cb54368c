"""Questions that a search cannot answer are refused by name; own searches need no list."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.sweep.search.facts import notices, refuse_question
from sweeplora.sweep.search.grammar import parse_space

CHOICE = {"network.dim": "choice(4, 8)"}
INTERVAL = {"optimizer.lr": "interval(0.1, 0.2)"}
BRANCHES = {"network": "choice(locon, lokr)", "network=lokr": {"network.factor": "choice(-1, 4)"}}


def search(*words: str) -> dict[str, Any]:
    config: dict[str, Any] = compose(words).config["search"]
    return config


@pytest.mark.parametrize(
    ("name", "space", "objectives", "said"),
    [
        ("cmaes", CHOICE, 1, r"CmaEsSampler: network.dim is choice\(4, 8\): it needs interval"),
        ("cmaes", INTERVAL, 2, "takes one objective; use search=nsga2"),
        ("gp", BRANCHES, 1, "exist only under a choice, as under network=lokr"),
        ("qmc", BRANCHES, 1, "exist only under a choice"),
        ("brute", INTERVAL, 1, r"a brute needs choice\(…\) or range"),
        ("grid", INTERVAL, 1, r"a grid needs choice\(…\) or range"),
    ],
)
def test_a_question_of_the_wrong_kind_is_refused(name: str, space: dict[str, Any], objectives: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        refuse_question(search(f"search={name}"), parse_space(space), objectives, False)


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_these_answer_every_question(name: str) -> None:
    refuse_question(search(f"search={name}"), parse_space({**BRANCHES, **INTERVAL}), 2, True)


def test_a_package_that_is_not_there_is_named_with_its_install_line() -> None:
    absent = search("search=cmaes") | {"_facts_": {"package": "not_there"}}
    with pytest.raises(UserError, match="not installed; pip install not_there"):
        refuse_question(absent, parse_space(INTERVAL), 1, False)


def test_brute_force_takes_no_constraints_and_a_wrong_fact_is_named() -> None:
    with pytest.raises(UserError, match=r"takes no sweep\.constraints; use search=grid"):
        refuse_question(search("search=brute"), parse_space(CHOICE), 1, True)
    with pytest.raises(UserError, match=r"_facts_\.branch=False: no such fact; there are: values, branches"):
        refuse_question({"_target_": "a.B", "_facts_": {"branch": False}}, parse_space(CHOICE), 1, False)
    with pytest.raises(UserError, match=r"_facts_\.values=all: give one of any, numbers, finite"):
        refuse_question({"_target_": "a.B", "_facts_": {"values": "all"}}, parse_space(CHOICE), 1, False)


def test_a_search_that_never_gets_to_learn_is_noticed() -> None:
    assert notices(search(), 10) == [
        "search.n_startup_trials=10: all 10 trials are drawn at random, before the search learns anything"
    ]
    assert notices(search(), 1) == [
        "search.n_startup_trials=10: the one trial is drawn at random, before the search learns anything"
    ]
    assert notices(search(), 11) == [] == notices(search("search=random"), 3)

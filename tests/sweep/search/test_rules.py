"""Constraints over whole proposals, and samplers that are held within them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytest

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.sweep.search.constraints import Constraint
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.known_points import proposal_of
from sweeplora.sweep.search.proposals import Proposal, points, propose
from sweeplora.sweep.search.rules import Rules, read_constraints
from sweeplora.sweep.search.searchers import build_search, grid_points
from sweeplora.sweep.search.space import Space

NUMBERS = parse_space({"network.dim": "range(1, 33)", "network.alpha": "interval(0.5, 32.0)"})
BRANCHED = parse_space(
    {
        "network": "choice(locon, lokr)",
        "network.alpha": "choice(1, 16)",
        "network=locon": {"network.dim": "choice(4, 8)"},
        "network=lokr": {"network.factor": "choice(-1, 4)"},
    }
)


def configured(words: Sequence[str]) -> Mapping[str, Any]:
    return compose(("optimizer.lr=0.01",), words).config


def rules(space: Space, *constraints: str) -> Rules:
    return read_constraints(constraints, space, configured)


@pytest.mark.parametrize("search", ["tpe", "random", "qmc", "gp", "cmaes", "nsga2"])
def test_every_sampler_stays_within_the_constraints_and_proposes_different_points(search: str) -> None:
    within = rules(NUMBERS, "network.alpha <= network.dim / 4")
    sampler = build_search(compose((f"search={search}",)).config["search"], NUMBERS, 0, within).sampler
    study = optuna.create_study(sampler=sampler)
    seen = set()
    trials = 13 if search == "gp" else 24  # after its first ten, seconds each
    for _ in range(trials):
        trial = study.ask()
        proposal = propose(NUMBERS, trial)
        dim, alpha = proposal.params["network.dim"], proposal.params["network.alpha"]
        assert isinstance(dim, int) and isinstance(alpha, float) and alpha <= dim / 4
        seen.add(proposal.overrides)
        for text, excess in within.excesses(proposal).items():
            trial.set_constraint(text, excess)
        study.tell(trial, abs(dim - 3) + alpha)
    assert len(seen) >= trials - 4


def test_a_branch_takes_what_it_has_and_the_configuration_the_rest() -> None:
    within = rules(BRANCHED, "network.alpha <= network.dim", "network.factor < 4")
    dim = compose(("network=lokr",)).config["network"]["dim"]
    assert dim < 16
    assert within.broken(Proposal(("network=locon", "network.alpha=16", "network.dim=8"), {})) is not None
    assert within.allowed(Proposal(("network=locon", "network.alpha=1", "network.dim=8"), {}))
    assert within.broken(Proposal(("network=lokr", "network.alpha=16", "network.factor=-1"), {})) is not None
    assert within.broken(Proposal(("network=lokr", "network.alpha=1", "network.factor=4"), {})) == "network.factor < 4"


@pytest.mark.parametrize("kinds", ["locon, full", "full, locon"])
def test_a_key_that_only_some_choices_have_binds_only_those(kinds: str) -> None:
    space = parse_space({"network": f"choice({kinds})", "optimizer.lr": "interval(1e-4, 1e-1)"})
    within = rules(space, "optimizer.lr * network.alpha < 0.01")
    alpha = compose(("network=locon",)).config["network"]["alpha"]
    assert within.broken(Proposal(("network=locon", f"optimizer.lr={0.011 / alpha}"), {})) is not None
    assert within.allowed(Proposal(("network=locon", f"optimizer.lr={0.009 / alpha}"), {}))
    assert within.allowed(Proposal(("network=full", f"optimizer.lr={0.011 / alpha}"), {}))


def test_a_constraint_may_decide_between_the_choices_of_a_group() -> None:
    space = parse_space({"network": "choice(locon, lokr, full)"})
    within = rules(space, "network.factor > 2 or network.dim > 100")
    allowed = [within.allowed(Proposal((f"network={name}",), {})) for name in ("locon", "lokr", "full")]
    assert allowed == [True, False, True]


def test_a_grid_has_the_allowed_points_only() -> None:
    space = parse_space({"network.dim": "choice(2, 8)", "network.alpha": "choice(1, 4)"})
    found = grid_points(space, 0, rules(space, "network.alpha <= network.dim"))
    assert sorted((p["network.dim"], p["network.alpha"]) for p in found) == [(2, 1), (8, 1), (8, 4)]


@pytest.mark.parametrize(
    "constraints",
    [
        ("network.alpha <= network.dim", "network.factor < 4"),  # keys of a branch, and those that a choice sets itself
        ("optimizer.lr * network.alpha < 0.1",),  # a key that is not searched
        ("network == 'lokr' or network.alpha < 16",),
    ],
)
def test_a_grid_has_just_the_points_that_are_allowed_one_by_one(constraints: tuple[str, ...]) -> None:
    within = rules(BRANCHED, *constraints)
    proposals = {str(point): proposal_of(BRANCHED, point) for point in points(BRANCHED)}
    allowed = [name for name, proposal in proposals.items() if proposal is not None and within.allowed(proposal)]
    assert sorted(map(str, grid_points(BRANCHED, 0, within))) == sorted(allowed)
    assert 0 < len(allowed) < len(proposals)
    whole = [point for point in grid_points(BRANCHED, 0) if str(point) in allowed]
    assert grid_points(BRANCHED, 0, within) == whole, "the order is the whole grid's"


def test_a_constraint_is_computed_once_for_values_of_its_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    space = parse_space({"network.dim": "range(1, 9)", "network.alpha": "range(1, 5)", "optimizer.lr": "range(1, 101)"})
    within = rules(space, "network.alpha <= network.dim")
    computed: list[float] = []
    excess = Constraint.excess

    def counted(one: Constraint, value_of: Any) -> float:
        computed.append(excess(one, value_of))
        return computed[-1]

    monkeypatch.setattr(Constraint, "excess", counted)
    assert len(grid_points(space, 0, within)) == 26 * 100
    assert len(computed) == 8 * 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network.alpha <= network.dims", r"no such key as network\.dims; nearest: network\.dim"),
        ("network == 'locon' or network.alpha < 3", "network is a group that is not searched"),
        ("optimizer.lr < 1", "names no searched key"),
        ("network.factor < network.dim", r"no such key as network\.factor"),
        ("network.alpha > 64", "none of 10,000 points"),
        ("network.alpha > optimizer.lr * 1e6", "none of 10,000 points"),
    ],
)
def test_constraints_that_make_no_sense_are_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        rules(NUMBERS, text)


@pytest.mark.parametrize("written", ["network.alpha <= network.dim", [3], [["network.alpha <= 3"]]])
def test_constraints_are_a_list_of_texts(written: Any) -> None:
    with pytest.raises(UserError, match="give a list of texts"):
        read_constraints(written, NUMBERS, lambda words: {})

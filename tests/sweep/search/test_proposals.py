from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import yaml

from sweeplora.errors import UserError
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.proposals import every_choice, points, propose
from sweeplora.sweep.search.searchers import build_search, grid_points

SWEEPS = Path(__file__).parents[3] / "sweeps"
BRANCHED = parse_space(
    {
        "network": "choice(locon, lokr)",
        "network.alpha": "range(1, 4)",
        "network=locon": {"network.dim": "choice(4, 8, 16)"},
        "network=lokr": {"network.dim": 2, "network.factor": "choice(-1, 4)"},
    }
)


def test_a_grid_has_every_combination_of_every_branch_once() -> None:
    found = points(BRANCHED)
    assert len(found) == 3 * (3 + 2)
    assert len({tuple(sorted(point.items())) for point in found}) == len(found)
    assert {"network": "lokr", "network.alpha": 1, "network.factor [network=lokr]": -1} in found


def test_a_grid_over_an_interval_is_refused() -> None:
    with pytest.raises(UserError, match="a grid needs choice"):
        points(parse_space({"optimizer.lr": "interval(0.1, 0.2)"}))


def test_the_grids_order_is_the_seeds() -> None:
    assert grid_points(BRANCHED, 0) == grid_points(BRANCHED, 0)
    assert grid_points(BRANCHED, 0) != grid_points(BRANCHED, 1)
    assert sorted(map(str, grid_points(BRANCHED, 0))) == sorted(map(str, points(BRANCHED)))


def test_every_grid_point_is_proposed_as_its_own_overrides() -> None:
    study = optuna.create_study()
    seen = set()
    for point in points(BRANCHED):
        study.enqueue_trial(point)
        seen.add(propose(BRANCHED, study.ask()).overrides)
    assert len(seen) == 15
    assert ("network=lokr", "network.dim=2", "network.factor=-1", "network.alpha=1") in seen


def test_every_choice_covers_all_values_and_interval_ends_in_few_lists() -> None:
    space = parse_space({"a": "choice(1, 2, 3)", "b": "tag(log, interval(1e-5, 1e-3))", "c": "choice(x, y)"})
    covers = every_choice(space)
    assert len(covers) == 3
    assert {text for cover in covers for text in cover} == {*("a=1", "a=2", "a=3", "b=1e-05", "b=0.001", "c=x", "c=y")}
    branched = every_choice(BRANCHED)
    assert len(branched) == 5
    assert {"network.dim=4", "network.dim=8", "network.dim=16", "network.dim=2", "network.factor=4"} <= {
        text for cover in branched for text in cover
    }


def test_what_is_proposed_lies_in_the_space() -> None:
    space = parse_space(
        {
            "whole": "int(interval(1, 9))",
            "steps": "range(0.1, 0.5, 0.1)",
            "log": "tag(log, interval(1e-5, 1e-3))",
            "kind": "choice(null, 0.5, word)",
            "held": 3,
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        proposal = propose(space, study.ask())
        values = proposal.params
        assert isinstance(values["whole"], int) and 1 <= values["whole"] <= 9
        assert values["steps"] in (0.1, 0.2, 0.3, 0.4)
        assert isinstance(values["log"], float) and 1e-5 <= values["log"] <= 1e-3
        assert values["kind"] in (None, 0.5, "word")
        assert "held" not in values and "held=3" in proposal.overrides
        assert f"log={values['log']}" in proposal.overrides


def test_a_trial_asked_again_keeps_its_values() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    first = propose(BRANCHED, trial)
    assert propose(BRANCHED, optuna.Trial(study, trial._trial_id)) == first


def test_a_continued_study_does_not_propose_what_it_proposed_before() -> None:
    config = {"_target_": "optuna.samplers.TPESampler", "seed": 0, "n_startup_trials": 10}
    space = parse_space({"optimizer.lr": "tag(log, interval(1e-5, 1e-3))"})
    study = optuna.create_study()
    seen = []
    for existing in range(4):
        study.sampler = build_search(config, space, existing).sampler
        seen.append(propose(space, study.ask()).params["optimizer.lr"])
    assert len(set(seen)) == 4


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_space_is_readable(file: Path) -> None:
    asked = yaml.safe_load(file.read_text())
    if "nightly" in asked:  # a night searches nothing
        return
    space = parse_space(asked["sweep"]["space"])
    assert parse_space(space.described()) == space
    assert every_choice(space)

"""Whole studies in this process: every search, points tried first, constraints, and a study that grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.sweep.commands import records
from tests.sweep.inline import study

RANGES = ("network.dim=range(1,9)", "network.alpha=range(1,9)")


def params(folder: Path, name: str = "s") -> list[tuple[Any, ...]]:
    return [tuple(record["params"].values()) for record in records(folder, name)]


@pytest.mark.parametrize(
    "search", ["qmc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cmaes", "brute", "nsga2"))]
)
def test_a_continued_study_goes_on_without_repeating_itself(tmp_path: Path, search: str) -> None:
    words = ("sweep.name=s", f"search={search}", *RANGES)
    for trials in (4, 8):
        code, said = study(tmp_path, *words, f"sweep.trials={trials}")
        assert code == 0, said
    assert len(records(tmp_path)) == 8
    assert len(set(params(tmp_path))) == 8 or search in ("nsga2", "cmaes")
    assert len(set(params(tmp_path))) >= 6


def test_brute_force_ends_when_every_point_was_visited(tmp_path: Path) -> None:
    code, said = study(tmp_path, "sweep.name=s", "search=brute", "network.dim=range(1,4)", "network.alpha=choice(1,2)")
    assert code == 0, said
    assert sorted(params(tmp_path)) == [(dim, alpha) for dim in (1, 2, 3) for alpha in (1, 2)]


def test_known_points_come_first_and_only_once_whatever_happens_to_the_driver(tmp_path: Path) -> None:
    points = "sweep.enqueue=[{network.dim:8,network.alpha:3},{network.dim:2}]"
    words = ("sweep.name=s", "sweep.trials=3", *RANGES, points, "sweep.constraints=['network.alpha<=5']")
    assert study(tmp_path, *words)[0] == 0
    first = params(tmp_path)
    assert first[0] == (8, 3) and first[1][0] == 2 and len(first) == 3
    assert study(tmp_path, *words[:1], "sweep.trials=4", *words[2:])[0] == 0
    assert params(tmp_path)[:3] == first and len(params(tmp_path)) == 4
    assert all(alpha <= 5 for _, alpha in params(tmp_path))
    grid = ("sweep.name=g", "search=grid", "sweep.trials=1", *RANGES, "sweep.enqueue=[{network.dim:5,network.alpha:7}]")
    assert study(tmp_path, *grid)[0] == 0
    assert params(tmp_path, "g") == [(5, 7)]


def test_a_slow_search_that_fails_is_told_while_the_first_trials_run_and_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_its_package(*_: object) -> None:
        raise ImportError("No module named 'torch'")

    monkeypatch.setattr(optuna.samplers.GPSampler, "_sample_relative_impl", without_its_package)
    code, said = study(tmp_path, "sweep.name=s", "search=gp", "sweep.trials=20", *RANGES)
    assert code == 2 and "GPSampler: cannot drive this study: No module named 'torch'" in said
    assert [record["verdict"] for record in records(tmp_path)] == ["complete"]


def test_more_points_than_trials_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    words = ("sweep.name=s", "sweep.trials=1", *RANGES, "sweep.enqueue=[{network.dim:8},{network.dim:2}]")
    code, said = study(tmp_path, *words)
    assert code == 2 and "sweep.trials=1 leaves no room" in said
    assert not (tmp_path / "runs").exists()


def test_lists_are_values_on_the_command_line(tmp_path: Path) -> None:
    words = ("sweep.name=s", "search=grid", "+network.block_dims=choice([1,2],[4,8])")
    code, said = study(tmp_path, *words)
    assert code == 0, said
    trained = [json.dumps(record["params"]) for record in records(tmp_path)]
    assert sorted(trained) == ['{"network.block_dims": "[1,2]"}', '{"network.block_dims": "[4,8]"}']
    (config, _) = sorted(tmp_path.glob("runs/s/*/config.yaml"))
    assert "block_dims:\n" in config.read_text()


def test_a_study_grows_only_when_it_is_told_to_and_only_by_adding(tmp_path: Path) -> None:
    words = ("sweep.name=s", "network.dim=range(2,5)", "optimizer.lr=interval(0.1,0.2)")
    assert study(tmp_path, *words, "sweep.trials=11")[0] == 0
    wider = ("sweep.name=s", "network.dim=range(1,12)", "optimizer.lr=interval(0.1,0.9)", "sweep.trials=18")
    code, said = study(tmp_path, *wider)
    assert code == 2
    assert "(space.network.dim: range(2, 5, 1) -> range(1, 12, 1); space.optimizer.lr: interval(0.1, 0.2) -> " in said
    assert "sweep.name=s-2, or sweep.extend=true" in said
    code, said = study(tmp_path, *wider, "sweep.extend=true", "train.batch_size=3")
    assert code == 2 and "train.batch_size: 4 -> 3" in said and "sweep.extend=true if" not in said
    narrower = ("sweep.name=s", "network.dim=range(3,9)", words[2], "sweep.trials=13", "sweep.extend=true")
    code, said = study(tmp_path, *narrower)
    assert code == 2 and "network.dim=range(2, 5, 1) -> range(3, 9, 1): a range may only grow" in said
    assert study(tmp_path, *wider, "sweep.extend=true")[0] == 0
    assert len(records(tmp_path)) == 18
    assert max(dim for dim, _ in params(tmp_path)) > 4 and max(lr for _, lr in params(tmp_path)) > 0.2
    assert study(tmp_path, *wider)[0] == 0, "the wider question is now the study's own"
    assert study(tmp_path, *words, "sweep.trials=18")[0] == 2


def test_another_pruner_is_another_question(tmp_path: Path) -> None:
    words = ("sweep.name=s", "search=grid", "network.dim=choice(2,4)")
    assert study(tmp_path, *words, "pruner=median")[0] == 0
    told = {
        ("pruner=none",): "pruner: MedianPruner -> NopPruner",
        ("pruner=rungs", "sweep.extend=true"): "pruner: MedianPruner -> Rungs",
        ("pruner=median", "pruner.n_warmup_steps=2"): "pruner.n_warmup_steps: 0 -> 2",
    }
    for changed, difference in told.items():
        code, said = study(tmp_path, *words, *changed)
        assert code == 2 and f"that study asked something else ({difference}); give it another name" in said
    study_of_before(tmp_path)
    assert study(tmp_path, *words, "pruner=median")[0] == 0, "its question did not say which pruner"
    assert study(tmp_path, *words, "pruner=none")[0] == 2


def test_other_settings_of_a_search_are_another_question(tmp_path: Path) -> None:
    words = ("sweep.name=s", "sweep.trials=1", "network.dim=range(2,9)")
    assert study(tmp_path, *words)[0] == 0
    told = {
        "search=random": "search: TPESampler -> RandomSampler",
        "search.seed=3": "search.seed: 0 -> 3",
        "search.n_startup_trials=2": "search.n_startup_trials: 10 -> 2",
    }
    for changed, difference in told.items():
        for more in ((), ("sweep.extend=true",)):
            code, said = study(tmp_path, *words, changed, *more)
            assert code == 2 and f"that study asked something else ({difference}); give it another name" in said
    study_of_before(tmp_path)
    assert study(tmp_path, *words, "search=random")[0] == 2, "its question said which search"
    assert study(tmp_path, *words, "search.seed=3")[0] == 0, "but not which settings"


def study_of_before(folder: Path) -> None:
    """Take out of a study's question what earlier versions did not put into it."""
    told = optuna.load_study(study_name="s", storage=f"sqlite:///{folder}/runs/optuna.db")
    question = {key: value for key, value in told.user_attrs["question"].items() if key not in ("pruner", "confirm")}
    told.set_user_attr("question", question | {"search": question["search"]["_target_"]})


def test_the_best_few_are_confirmed_later_or_with_more_seeds_but_not_with_fewer(tmp_path: Path) -> None:
    words = ("sweep.name=s", "search=grid", "network.dim=choice(2,4,8)")
    assert study(tmp_path, *words)[0] == 0
    assert study(tmp_path, *words, "sweep.confirm={top: 2, seeds: 2}")[0] == 0
    told = {
        "{top: 0}": "sweep.confirm.top: 2 -> 0",
        "{top: 3, seeds: 2, split: true}": "sweep.confirm.split: False -> True",
        "{top: 2, seeds: 3, by: network.dim}": "sweep.confirm.by: None -> network.dim",
    }
    for confirm, difference in told.items():
        code, said = study(tmp_path, *words, f"sweep.confirm={confirm}")
        assert code == 2 and difference in said
    assert study(tmp_path, *words, "sweep.confirm={top: 3, seeds: 3}")[0] == 0
    code, said = study(tmp_path, *words, "sweep.confirm={top: 3, seeds: 2}")
    assert code == 2 and "(sweep.confirm.seeds: 3 -> 2)" in said


def test_values_of_a_choice_are_not_added_to(tmp_path: Path) -> None:
    assert study(tmp_path, "sweep.name=s", "search=random", "sweep.trials=1", "network.dim=choice(2,4)")[0] == 0
    words = ("sweep.name=s", "search=random", "sweep.trials=2", "network.dim=choice(2,4,8)", "sweep.extend=true")
    code, said = study(tmp_path, *words)
    assert code == 2 and "Optuna keeps the values of a choice as they began; give another name" in said

"""Which trial stands first in MLflow's list of a sweep whose best few were trained with further seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeplora.record.mirror import Mirror
from sweeplora.record.store.shared_view import TAG
from sweeplora.record.store.standing import ORDER, standings
from sweeplora.report.leaderboard import Leaderboard, make_leaderboard, read_leaderboard
from sweeplora.rundir.record import Attempt, Result, TrialRecord, write_result, write_trial
from tests.record.mlflow_store import Contents
from tests.record.study_folder import STARTED, StudyFolder, tracking_of


def trial(number: int, value: Any, seed: int | None = None, ended: float = 9.0) -> tuple[Path, TrialRecord]:
    record = TrialRecord("complete", "s", number, params={"network.dim": number}, value=value, replicate=seed)
    record.attempts = [Attempt(ended - 1, ended=ended)]
    return Path(f"{number:03}{'' if seed is None else f'.{seed}'}-a"), record


def board(*trials: tuple[Path, TrialRecord], objectives: tuple[str, ...] = ("val/loss",)) -> Leaderboard:
    return make_leaderboard("s", objectives, trials)


def test_trials_sort_by_their_tag_as_in_the_leaderboard() -> None:
    found = board(
        *(trial(number, value) for number, value in enumerate([0.30, 0.31, 0.32, 12.5, -0.1, 1e-9, -3.0])),
        trial(1, 0.36, seed=1),
        trial(1, 0.35, seed=2),
        trial(2, 0.30, seed=1),
    )
    stands = standings(found)
    assert sorted(stands, key=lambda number: stands[number].tags[ORDER]) == [entry.number for entry in found.entries]
    assert [entry.number for entry in found.entries][:3] == [2, 1, 6]
    assert stands[2].tags["state"] == "complete x2" and "state" not in stands[0].tags


def test_the_mean_grows_with_the_seeds_in_the_order_they_ended() -> None:
    found = board(trial(0, 0.3, ended=5.0), trial(0, 0.9, seed=1, ended=9.0), trial(0, 0.6, seed=2, ended=7.0))
    points = standings(found)[0].points
    assert [(p.step, p.time) for p in points] == [(1, 5.0), (2, 7.0), (3, 9.0)]
    assert {p.key for p in points} == {"mean/val/loss"}
    assert [p.value for p in points] == pytest.approx([0.3, 0.45, 0.6])


def test_a_repetition_that_failed_counts_for_nothing() -> None:
    path, lost = trial(0, None, seed=1)
    stands = standings(board(trial(0, 0.3), (path, replace(lost, verdict="failed"))))
    assert stands[0].points == () and stands[0].mark == ""


@pytest.mark.parametrize("objectives", [("val/loss", "seconds"), ("preference",)])
def test_without_one_measured_objective_nothing_is_said(objectives: tuple[str, ...]) -> None:
    values = [0.3] * len(objectives)
    assert standings(board(trial(0, values), trial(0, values, seed=1), objectives=objectives)) == {}


def repeat(study: StudyFolder, number: int, seed: int, value: float) -> None:
    """Leave the folder of a repetition that has ended."""
    again = study.trial(90 + seed, 2)
    again.steps(0, 20)
    again.complete(value)
    folder = study.path / f"{number:03d}.{seed}-{2:012x}"
    again.run.path.rename(folder)
    began = STARTED + 200 + seed
    record = TrialRecord("complete", study.path.name, number, params={"network.dim": 2}, value=value, replicate=seed)
    record.attempts = [Attempt(began, ended=began + 9)]
    run = replace(again.run, path=folder)
    write_trial(run, record)
    write_result(run, Result("finished", step=20))


def shown(runs: Path, contents: Contents) -> tuple[list[str], dict[str, Any]]:
    """The folders of MLflow's list as the sweep's view has it, in order, and the view."""
    experiment = contents.client.get_experiment_by_name("sweeplora")
    assert experiment is not None
    view = json.loads(experiment.tags[f"{TAG}rank"])
    order = [f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"]
    found = contents.client.search_runs([experiment.experiment_id], view["searchFilter"], order_by=order)
    return [run.data.tags["sweeplora.folder"].partition("-")[0] for run in found], view


def test_the_list_opens_on_the_verdicts_best_and_hides_the_lucky_seeds(runs: Path) -> None:
    study = StudyFolder(runs)
    for number, value in enumerate((0.30, 0.31, 0.33)):
        one = study.trial(number, 2 + number)
        one.steps(0, 20, **{"val/loss": value})
        one.complete(value)
    mirror = Mirror(study.path, tracking_of(runs))
    mirror.turn()
    contents = Contents(tracking_of(runs).uri)
    assert shown(runs, contents)[0] == ["rank/000", "rank/001", "rank/002", "rank"]

    for number, values in ((0, (0.45, 0.27)), (1, (0.33, 0.26))):
        for seed, value in enumerate(values, 1):
            repeat(study, number, seed, value)
    mirror.turn()  # the same process, which has sent the trials whole already
    folders, view = shown(runs, contents)
    assert folders == ["rank/001", "rank/000", "rank/002", "rank"]
    assert view["selectedColumns"][:2] == ["metrics.`mean/val/loss`", "params.`network.dim`"]
    best = read_leaderboard(study.path, "rank", ("val/loss",)).best
    assert best is not None and best.number == 1
    run = next(run for folder, run in contents.runs().items() if folder.startswith("rank/001-"))
    assert run.data.metrics["mean/val/loss"] == pytest.approx((0.31 + 0.33 + 0.26) / 3)
    assert (run.data.tags["state"], len(contents.history(run, "mean/val/loss"))) == ("complete x3", 3)
    alone = next(run for folder, run in contents.runs().items() if folder.startswith("rank/002-"))
    assert (alone.data.tags["state"], contents.history(alone, "mean/val/loss")) == ("complete", [(1, 0.33)])

    before = contents.everything()
    for memory in study.path.rglob("mirror.json"):
        memory.unlink()
    Mirror(study.path, tracking_of(runs)).turn()
    assert Contents(tracking_of(runs).uri).everything() == before
    there = {run.info.run_id for run in contents.runs().values()}
    assert Mirror(study.path, tracking_of(runs), revive=False).is_complete(there)

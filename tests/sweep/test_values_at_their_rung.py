"""Rungs beside `sweep.confirm`: what is to be compared comes to its end, however it stands at its rung."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeplora.config.compose import compose
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import Scalar, TrialRecord, Verdict, write_trial
from sweeplora.rundir.state import end_state
from sweeplora.sweep.replicates import ReplicateRules
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.space import Choice
from sweeplora.sweep.second_part import SecondPart
from tests.sweep import standin
from tests.sweep.commands import PATIENCE_SECONDS, command, living_in, records, start, until

PRUNER = compose(("pruner=rungs",)).config["pruner"]
BY_RANK = ReplicateRules(top=4, seeds=3, by="network.dim")
STEPS = 8


class Study:
    """The run folders of trials at their rung, and whoever drives them on; no process runs."""

    def __init__(self, folder: Path, rules: ReplicateRules) -> None:
        self.folder, self.rules = folder, rules
        self.trials: dict[int, tuple[RunDir, TrialRecord]] = {}
        self.driver = SecondPart(PRUNER, "val/loss", rules)

    def stops(self, value: float, **params: Scalar) -> int:
        """A new trial stops at its rung with this loss; returns its number."""
        number = len(self.trials)
        run = RunDir(self.folder / f"{number:03}-{number:012}")
        run.path.mkdir()
        run.config.write_text(f"{number}")
        MetricsWriter(run.metrics).write(2, {"val/loss": value})
        standin._write_state(run, 2, STEPS)
        self.trials[number] = run, TrialRecord("pruned", number=number, params=params, steps=STEPS)
        self.ends(number, "pruned")
        return number

    def ends(self, number: int, verdict: Verdict) -> None:
        """A trial ended so, or stopped again."""
        run, record = self.trials[number]
        self.trials[number] = run, replace(record, verdict=verdict)
        write_trial(*self.trials[number])
        if verdict != "pruned":
            end_state(run, verdict)
        self.driver.note(*self.trials[number], True)

    def next_driver(self) -> None:
        """Another driver takes up what this one left."""
        self.driver = SecondPart(PRUNER, "val/loss", self.rules)
        for run, record in self.trials.values():
            self.driver.note(run, record, record.verdict != "complete")

    def goes_on(self, verdicts: Mapping[int, Verdict] | None = None) -> list[int]:
        """Which trials go on in the one slot, in this order; those of `verdicts` do not complete."""
        order = []
        while (number := self.driver.next(())) is not None:
            order.append(number)
            self.ends(number, (verdicts or {}).get(number, "complete"))
        assert self.driver.is_over(())
        return order


def ranks(folder: Path, rules: ReplicateRules = BY_RANK) -> Study:
    """Twelve trials of ranks 2 2 2 4 4 4 8 8 8 16 16 16, each better than the one before."""
    study = Study(folder, rules)
    for number in range(12):
        study.stops(2 - number / 10, **{"network.dim": 2 ** (1 + number // 3)})
    return study


def test_the_best_of_every_value_goes_on_beside_the_best_quarter(tmp_path: Path) -> None:
    assert ranks(tmp_path).goes_on() == [11, 10, 9, 8, 5, 2]


def test_what_is_not_confirmed_earns_no_place(tmp_path: Path) -> None:
    without = ReplicateRules(top=0, by="network.dim")
    for name, rules in (("none", without), ("seeds of all", ReplicateRules(replicates=3))):
        (tmp_path / name).mkdir()
        assert ranks(tmp_path / name, rules).goes_on() == [11, 10, 9], name


@pytest.mark.parametrize(("top", "expected"), [(2, [11, 10, 9, 8]), (3, [11, 10, 9, 8, 5]), (9, [11, 10, 9, 8, 5, 2])])
def test_with_more_values_than_are_confirmed_the_best_values_go_on(
    tmp_path: Path, top: int, expected: list[int]
) -> None:
    assert ranks(tmp_path, replace(BY_RANK, top=top)).goes_on() == expected


def test_without_a_key_as_many_points_go_on_as_are_confirmed(tmp_path: Path) -> None:
    study = Study(tmp_path, ReplicateRules(top=3))
    for value, dim in ((1.0, 8), (1.0, 8), (1.1, 4), (1.2, 2), (1.3, 16)):
        study.stops(value, **{"network.dim": dim})
    assert study.goes_on() == [0, 2, 3], "the point that was proposed twice is one"


@pytest.mark.parametrize("verdict", ["diverged", "failed"])
def test_the_next_best_of_a_value_goes_on_for_one_that_does_not_come_to_its_end(
    tmp_path: Path, verdict: Verdict
) -> None:
    assert ranks(tmp_path).goes_on({2: verdict, 1: verdict, 5: verdict}) == [11, 10, 9, 8, 5, 4, 2, 1, 0]


def test_a_value_none_of_whose_trials_comes_to_its_end_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    study = ranks(tmp_path, replace(BY_RANK, top=2))
    assert study.goes_on({8: "diverged", 7: "diverged", 6: "failed"}) == [11, 10, 9, 8, 7, 6, 5]


def test_a_branch_without_the_key_and_a_null_are_values_of_their_own(tmp_path: Path) -> None:
    study = Study(tmp_path, ReplicateRules(top=3, by="network.factor"))
    for value in (1.0, 1.1):
        study.stops(value, network="lokr", **{"network.factor": 4})
    for value in (1.2, 1.3):
        study.stops(value, network="lokr", **{"network.factor": None})
    for value in (1.4, 1.5, 1.6):
        study.stops(value, network="locon")
    assert study.goes_on() == [0, 2, 4]


def test_lists_are_values_too(tmp_path: Path) -> None:
    sets = parse_space({"network.block_dims": "choice([8,8],[8,0],[0,8])"}).dimensions["network.block_dims"]
    assert isinstance(sets, Choice)
    study = Study(tmp_path, ReplicateRules(top=3, by="network.block_dims"))
    for place, value in enumerate([sets.values[0]] * 5 + [sets.values[1]] * 2 + [sets.values[2]]):
        study.stops(1 + place / 10, **{"network.block_dims": value})
    assert study.goes_on() == [0, 1, 5, 7]


def test_few_trials_all_go_on_where_each_is_its_value_s_best(tmp_path: Path) -> None:
    study = Study(tmp_path, BY_RANK)
    for dim in (2, 4, 8):
        study.stops(dim / 2, **{"network.dim": dim})
    assert study.goes_on() == [0, 1, 2]


def test_while_the_last_kept_one_runs_another_goes_on_for_the_time_being(tmp_path: Path) -> None:
    study = ranks(tmp_path)
    for number in (11, 10, 9, 8, 5):
        assert study.driver.next(()) == number
        study.ends(number, "complete")
    assert study.driver.next(()) == 2 and not study.driver.is_over([2])
    assert study.driver.next([2]) == 7, "the best of the others, which nothing says is worse"
    assert study.driver.to_stop([2, 7]) == [] and not study.driver.is_over([2, 7])
    study.ends(2, "diverged")
    assert not study.driver.is_over([7])
    assert study.driver.next([7]) == 1, "the next of its value goes on for one that diverged"
    study.ends(1, "complete")
    assert study.driver.next([7]) is None and study.driver.to_stop([7]) == [7] and study.driver.is_over([7])


@pytest.mark.parametrize("ended", range(7))
def test_a_later_driver_has_the_same_trials_go_on(tmp_path: Path, ended: int) -> None:
    study = ranks(tmp_path)
    went_on = []
    for _ in range(ended):
        number = study.driver.next(())
        assert number is not None
        went_on.append(number)
        study.ends(number, "diverged" if number == 5 else "complete")
    killed = study.driver.next(())
    assert killed is not None
    run, record = study.trials[killed]
    study.trials[killed] = run, replace(record, verdict="running")
    study.next_driver()
    assert [*went_on, *study.goes_on({5: "diverged"})] == [11, 10, 9, 8, 5, 4, 2]


def test_a_study_that_confirms_more_than_before_trains_the_rest_again(tmp_path: Path) -> None:
    study = ranks(tmp_path, replace(BY_RANK, top=2))
    assert study.goes_on() == [11, 10, 9, 8]
    study.driver.close(((run.path, record) for run, record in study.trials.values()), 1.0)
    study.rules = BY_RANK
    study.next_driver()
    assert study.goes_on() == [5, 2]
    more = study.stops(1.75, **{"network.dim": 4})
    assert more == 12 and study.goes_on() == [], "rank 4 came to its end"


def test_a_value_whose_best_lost_its_state_is_compared_by_one_that_has_its_own(tmp_path: Path) -> None:
    study = ranks(tmp_path)
    study.trials[2][0].state.unlink()
    study.trials[10][0].state.unlink()
    study.next_driver()
    assert study.goes_on() == [11, 9, 8, 5, 1]
    assert not study.driver.is_over([0]), "one that is not there yet is waited for"


SPACE = ("network.dim=choice(4,8,16,32)", "network.alpha=choice(1,300)")
WORDS = ("sweep.name=s", "search=grid", "pruner=rungs", "launcher.slots=2", *SPACE)
CONFIRMED = "sweep.confirm={top: 2, seeds: 2, by: network.alpha}"
BEHAVIOUR: dict[str, Any] = {"steps": STEPS, "seconds": 0.3, "state": True, "diverge_later": [8]}


def ends_as_it_should(folder: Path, output: str) -> None:
    """Of either alpha the best rank diverged after its rung, and the next best came to its end and was repeated."""
    points = [record for record in records(folder) if record["replicate"] is None]
    verdicts = {(r["params"]["network.alpha"], r["params"]["network.dim"]): r["verdict"] for r in points}
    assert (verdicts[1, 8], verdicts[300, 8]) == ("diverged", "diverged"), output
    again = [record for record in records(folder) if record["replicate"] is not None]
    by_number = {r["number"]: r["params"] for r in points if r["verdict"] == "complete"}
    repeated = sorted((by_number[r["number"]]["network.alpha"], r["replicate"]) for r in again)
    assert repeated == [(1, 1), (1, 2), (300, 1), (300, 2)]
    assert {by_number[r["number"]]["network.dim"] for r in again} <= {4, 16}, "either is next to rank 8"
    assert "verdict: network.alpha, each at its best trial: 1 first, then 300 (" in output
    assert "running" not in {record["verdict"] for record in records(folder)}
    assert not list((folder / "runs/s").glob("*/checkpoints"))
    assert json.loads((folder / "runs/s/study.json").read_text())["state"] == "finished"


def test_every_value_is_confirmed_by_a_trial_that_came_to_its_end(tmp_path: Path) -> None:
    code, output, errors = command(tmp_path, *WORDS, CONFIRMED, behaviour=BEHAVIOUR)
    assert (code, errors) == (0, ""), output
    ends_as_it_should(tmp_path, output)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["rungs", "going on", "confirming"])
def test_a_driver_that_is_killed_changes_nothing(tmp_path: Path, part: str) -> None:
    driver = start(tmp_path, *WORDS, CONFIRMED, behaviour=BEHAVIOUR)
    if part == "rungs":
        until(lambda: sum(r["verdict"] == "pruned" for r in records(tmp_path)) >= 3)
    elif part == "going on":
        until(lambda: any(len(r["attempts"]) > 1 for r in records(tmp_path)))
    else:
        until(lambda: any(r["replicate"] is not None for r in records(tmp_path)))
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=PATIENCE_SECONDS)
    until(lambda: living_in(tmp_path) == [])
    code, output, errors = command(tmp_path, *WORDS, CONFIRMED, behaviour=BEHAVIOUR)
    assert (code, errors) == (0, ""), output
    ends_as_it_should(tmp_path, output)

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from sweeplora.errors import UserError
from sweeplora.experiment import Configuration
from sweeplora.rundir.record import TrialOutcome
from sweeplora.sweep.ledger import Ledger, open_ledger
from sweeplora.sweep.question import Question
from sweeplora.sweep.search.grammar import parse_space

CONF = Path(__file__).resolve().parents[2] / "conf"
TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 0, "n_startup_trials": 3, "multivariate": True}
GRID = {"_target_": "sweeplora.sweep.search.searchers.grid", "seed": 0}
NONE = {"_target_": "optuna.pruners.NopPruner"}
MEDIAN = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 1}


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


OOM = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79.10 GiB of which 512.00 MiB is free"


def question(
    space: Mapping[str, Any], trials: int, search: dict[str, Any] = TPE, pruner: dict[str, Any] = NONE
) -> Question:
    read = parse_space(space)
    identity: dict[str, Any] = {"space": read.described(), "objective": ["val/loss"], "search": dict(search)}
    identity |= {
        "signature": "abc",
        "config": {"seed": 0},
        "constraints": [],
        "enqueue": [],
        "warm_start": None,
        "first": [],
    }
    config = {"search": search, "pruner": pruner, "sweep": {"extend": False}}
    return Question("s", read, ("val/loss",), trials, Configuration(config, (), ()), identity)


def opened(runs: Path, asked: Question) -> Ledger:
    return open_ledger(runs, asked, lambda words: "another")


def all_trials(ledger: Ledger) -> list[optuna.trial.FrozenTrial]:
    return ledger._study.get_trials(deepcopy=False)


def test_pruned_failed_and_diverged_trials_count_towards_the_total(tmp_path: Path) -> None:
    ledger = opened(tmp_path, question({"x": "interval(0, 1)"}, 5))
    ends = (
        TrialOutcome("complete", "", (0.5,)),
        TrialOutcome("pruned"),
        TrialOutcome("failed"),
        TrialOutcome("diverged"),
    )
    for outcome in (*ends, TrialOutcome("failed", OOM)):
        asked = ledger.ask()
        assert asked is not None
        ledger.tell(asked, outcome)
    assert ledger.ask() is None
    assert ledger.counted() == 5
    states = [trial.state for trial in all_trials(ledger)]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.PRUNED, TrialState.PRUNED]
    constraints = [trial.constraints for trial in all_trials(ledger)[3:]]
    assert constraints == [{"feasible": 1.0}, {"GiB of memory missing": 1.5}]


def test_trials_of_a_dead_driver_are_taken_over_with_their_values(tmp_path: Path) -> None:
    asks = question({"x": "interval(0, 1)"}, 3)
    first = opened(tmp_path, asks).ask()
    assert first is not None
    ledger = opened(tmp_path, asks)
    (left,) = ledger.left()
    assert (left.number, left.proposal) == (0, first.proposal)
    second = ledger.ask()
    assert second is not None and second.number == 1
    assert second.proposal != first.proposal
    ledger.tell(left, TrialOutcome("complete", "", (1.0,)))
    assert opened(tmp_path, asks).counted() == 1


def test_a_grid_is_gone_through_once_whatever_happens_to_its_drivers(tmp_path: Path) -> None:
    asks = question({"x": "choice(1, 2, 3)", "y": "choice(a, b)"}, 6, GRID)
    seen = []
    for _ in range(6):
        asked = opened(tmp_path, asks).ask()
        assert asked is not None
        seen.append(tuple(asked.proposal.params.values()))
    assert opened(tmp_path, asks).ask() is None
    assert len(set(seen)) == 6


def test_a_trial_worse_than_the_median_is_given_up(tmp_path: Path) -> None:
    ledger = opened(tmp_path, question({"x": "interval(0, 1)"}, 3, TPE, MEDIAN))
    good, bad = ledger.ask(), ledger.ask()
    assert good is not None and bad is not None
    assert not ledger.report(good, 10, 0.1)
    ledger.tell(good, TrialOutcome("complete", "", (0.1,)))
    assert not ledger.report(bad, 5, 0.9)
    assert ledger.report(bad, 10, 0.8)


def test_hyperband_stops_most_trials_early_and_lets_the_best_end(tmp_path: Path) -> None:
    shipped = yaml.safe_load((CONF / "pruner/hyperband.yaml").read_text())
    asks = question({"x": "interval(0, 1)"}, 40, TPE, shipped)
    ended_at = []
    for number in range(40):
        if number % 8 == 0:
            ledger = opened(tmp_path, asks)  # another driver, as after an interruption
        asked = ledger.ask()
        assert asked is not None
        value = number * 17 % 40 / 40 if number else 1.0
        steps = next((step for step in (4, 8, 12, 24, 36, 72) if ledger.report(asked, step, value)), 108)
        ledger.tell(asked, TrialOutcome("complete" if steps == 108 else "pruned", "", (value,) if steps == 108 else ()))
        ended_at.append(steps)
    assert ended_at[0] == 108  # nothing is known of the longest training before one has ended
    assert ended_at[33] == 108  # the best
    assert len({steps for steps in ended_at if steps < 108}) > 1  # several halvings, begun at different steps
    assert sum(steps < 108 for steps in ended_at) >= 10


def test_another_question_under_a_known_name_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, question({"x": "interval(0, 1)"}, 3))
    (tmp_path / "s-2").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s/study.json").touch()
    with pytest.raises(UserError, match=r"space\.x: .* -> .*sweep\.name=s-3, or sweep\.extend=true"):
        opened(tmp_path, question({"x": "interval(0, 2)"}, 3))
    assert opened(tmp_path, question({"x": "interval(0, 1)"}, 9)).ask() is not None


def garbled(path: Path) -> None:
    path.write_bytes(b"garbage" * 999)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = bytes(byte ^ 0xFF for byte in content[100:4096])
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_bytes(b"garbage" * 999), truncated, flipped, _folder_instead]
)
def test_a_damaged_database_is_one_line_that_names_it(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    asks = question({"x": "interval(0, 1)"}, 3)
    opened(tmp_path, asks).ask()
    spoil(tmp_path / "optuna.db")
    with pytest.raises(UserError, match=r"optuna\.db=.*optuna\.db: this database cannot be used") as error:
        opened(tmp_path, asks)
    assert "\n" not in str(error.value)


def test_a_database_that_stays_locked_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = question({"x": "interval(0, 1)"}, 3)
    opened(tmp_path, asks)
    monkeypatch.setattr("sweeplora.sweep.storage._LOCKED_SECONDS", 0.1)
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as other:
        other.execute("begin exclusive")
        with pytest.raises(UserError, match="another process keeps it locked"):
            opened(tmp_path, asks)


def test_known_points_are_asked_in_their_order_and_stay_where_they_are_for_the_next_driver(tmp_path: Path) -> None:
    asks = replace(question({"x": "interval(0, 1)"}, 4), points=({"x": 0.25}, {"x": 0.5}, {"x": 0.75}))
    first = opened(tmp_path, asks).ask()
    assert first is not None and first.proposal.params == {"x": 0.25}
    ledger = opened(tmp_path, asks)
    assert len(all_trials(ledger)) == 1, "a point is written once it is asked for"
    values = [trial.proposal.params["x"] for trial in (ledger.ask(), ledger.ask(), ledger.ask()) if trial is not None]
    assert values[:2] == [0.5, 0.75] and len(set(values)) == 3

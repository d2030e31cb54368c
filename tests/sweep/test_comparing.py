"""sweep.objective=preference: batches that wait for comparisons, and a search that learns from them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from sweeplora.report.leaderboard import Leaderboard
from sweeplora.rundir.preferences import Judgement, JudgementWriter
from sweeplora.rundir.record import TrialOutcome
from sweeplora.sweep.comparing import Batches
from tests.sweep.commands import records
from tests.sweep.inline import study
from tests.sweep.test_ledger import opened, question

EYES = ("sweep.objective=preference", "sweep.name=s", "sweep.trials=6", "sweep.batch=3", "network.dim=range(2, 17, 1)")


@pytest.fixture(autouse=True)
def _drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in draws a preview of its rank's colour."""
    monkeypatch.setenv("STANDIN", json.dumps({"draws": True}))


def compare(folder: Path) -> None:
    """Every pair of complete trials once, by a person who likes small ranks."""
    done = [(record["params"]["network.dim"], record) for record in records(folder) if record["verdict"] == "complete"]
    names = {path.parent.name.partition("-")[0]: path.parent.name for path in (folder / "runs/s").glob("*/trial.json")}
    writer = JudgementWriter(folder / "runs/s")
    for place, (one, left) in enumerate(done):
        for other, right in done[place + 1 :]:
            picked = "left" if one < other else "right"
            writer.add(Judgement(names[f"{left['number']:03}"], names[f"{right['number']:03}"], picked), [0])  # type: ignore[arg-type]
    writer.close()


def told(folder: Path) -> dict[int, float]:
    """Number -> value of the trials in Optuna's database."""
    with sqlite3.connect(folder / "runs/optuna.db") as database:
        query = "select t.number, v.value from trials t join trial_values v on v.trial_id = t.trial_id"
        return dict(database.execute(query).fetchall())


def test_a_search_by_eye_stops_after_each_batch_and_goes_on_from_the_comparisons(tmp_path: Path) -> None:
    code, said = study(tmp_path, *EYES)
    assert code == 0
    assert [record["verdict"] for record in records(tmp_path)] == ["complete"] * 3
    line = "3 trials were not compared often enough, compare them: python -m sweeplora prefer s"
    assert f"{line}; the same command then proposes the next trials" in said
    assert told(tmp_path) == {0: 0.5, 1: 0.5, 2: 0.5}

    code, said = study(tmp_path, *EYES)  # too early: nothing is proposed
    assert code == 0 and line in said and len(records(tmp_path)) == 3

    compare(tmp_path)
    code, said = study(tmp_path, *EYES)
    assert code == 0 and len(records(tmp_path)) == 6
    values = told(tmp_path)
    ranks = {record["number"]: record["params"]["network.dim"] for record in records(tmp_path)}
    first = sorted(range(3), key=lambda number: values[number])
    assert first == sorted(range(3), key=lambda number: ranks[number]) and len({ranks[n] for n in range(3)}) == 3
    assert [values[number] for number in (3, 4, 5)] == [0.5] * 3
    assert (
        "you prefer trial" in said and json.loads((tmp_path / "runs/s/study.json").read_text())["state"] == "finished"
    )

    compare(tmp_path)
    code, said = study(tmp_path, *EYES)
    assert code == 0 and "not compared often enough" not in said and len(records(tmp_path)) == 6


def test_a_batch_that_was_cut_off_is_finished_before_anything_is_compared(tmp_path: Path) -> None:
    study(tmp_path, *EYES[:2], "sweep.trials=9", "sweep.batch=2", EYES[4])
    assert len(records(tmp_path)) == 2
    study(tmp_path, *EYES[:2], "sweep.trials=9", "sweep.batch=3", EYES[4])  # as if a batch of three had lost its driver
    assert len(records(tmp_path)) == 3


def test_what_cannot_be_decided_by_eye_is_refused_in_one_line(tmp_path: Path) -> None:
    for words, line in (
        (["pruner=median"], "pruner=on: stops trials by a measured value"),
        (["sweep.confirm.top=2"], "sweep.confirm.top=2: tests a measured loss"),
        (["sweep.replicates=2"], "sweep.replicates=2: pictures of several seeds have no mean"),
        (["search=random"], "learns from no comparison"),
        (["search=grid"], "learns from no comparison"),
        (["sample=none"], "sample.at_last=False: sweep.objective=preference compares the previews after the last step"),
        (["sample.steps=choice(5,6)"], "sweep.space.sample.steps=searched: changes how previews are drawn"),
        (["sweep.batch=1"], "sweep.batch=1: give a whole number of 2 or more"),
        (["sweep.batch=6"], "sweep.batch=6: nothing would be proposed after the comparisons"),
        (["sweep.objective=[preference,val/loss]"], "preference stands alone"),
        (["sweep.objective=val/loss"], "sweep.batch=3: has effect with sweep.objective=preference alone"),
    ):
        code, said = study(tmp_path, *EYES, *words)
        assert (code, line in said) == (2, True), said
        assert said.count("\n") == 0, said
    code, said = study(tmp_path, "sweep.objective=preference")
    assert code == 2 and "sweep.objective=preference: one run is compared with nothing" in said
    assert not (tmp_path / "runs").exists()


def test_a_trial_without_a_preview_fails_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN", "{}")
    code, said = study(tmp_path, *EYES)
    assert code == 1 and "it finished without a preview to compare" in said


def test_nothing_is_proposed_while_a_trial_of_the_batch_runs(tmp_path: Path) -> None:
    asked = replace(question({"x": "interval(0, 1)"}, 9), batch=2, objectives=("preference",))
    batches = Batches(opened(tmp_path, asked), asked, lambda: Leaderboard("s", ("preference",), ()))
    first, second = batches.ask(), batches.ask()
    assert first is not None and second is not None
    assert batches.ask() is None and not batches.waits()
    batches.tell(first, TrialOutcome("complete", "", (0.5,)))
    assert batches.ask() is None and not batches.waits()
    batches.tell(second, TrialOutcome("failed"))  # a single complete trial is compared with nothing
    assert batches.ask() is not None

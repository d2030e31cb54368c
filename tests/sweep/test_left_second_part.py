"""A second part of rungs that a driver left half done: the next driver takes every trial to its end."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import (
    Result,
    TrialRecord,
    read_study,
    read_trial,
    write_result,
    write_study,
    write_trial,
)
from sweeplora.sweep.storage import open_storage
from tests.sweep import standin
from tests.sweep.commands import command, records, start, until
from tests.sweep.drive import check
from tests.sweep.inline import study

POINTS = "sweep.enqueue=[{network.dim:4},{network.dim:8},{network.dim:64}]"
SPACE = ("network.dim=choice(4,8,64)", "optimizer.lr=interval(0.001,0.0011)")
WORDS = ("sweep.name=s", "search=random", "sweep.trials=3", "pruner=rungs", POINTS, *SPACE)
STEPS = 8


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which the best of three trials went on to its end, and the others stay at their rung."""
    folder = tmp_path_factory.mktemp("finished")
    behaviour = {"steps": STEPS, "seconds": 0.05, "state": True}
    code, output, errors = command(folder, *WORDS, "launcher.slots=1", behaviour=behaviour)
    assert (code, errors) == (0, ""), output
    assert sorted(r["verdict"] for r in records(folder)) == ["complete", "pruned", "pruned"]
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that study, which a test takes back to where a driver could have left it."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("STANDIN", json.dumps({"steps": STEPS, "state": True}))
    yield tmp_path


def trial(place: Path, verdict: str) -> tuple[RunDir, TrialRecord]:
    """The first trial that ended so."""
    number = next(r["number"] for r in records(place) if r["verdict"] == verdict)
    (folder,) = (place / "runs/s").glob(f"{number:03}-*")
    record = read_trial(RunDir(folder))
    assert record is not None
    return RunDir(folder), record


def untell(place: Path, number: int | None) -> None:
    """Have Optuna know a trial as pruned, as before its driver told that it is complete."""
    with closing(sqlite3.connect(place / "runs/optuna.db")) as database, database:
        database.execute("update trials set state = 'PRUNED' where number = ?", (number,))
        database.execute(
            "delete from trial_values where trial_id = (select trial_id from trials where number = ?)", (number,)
        )


def told(place: Path) -> list[str]:
    with closing(sqlite3.connect(place / "runs/optuna.db")) as database:
        return [str(state).lower() for (state,) in database.execute("select state from trials order by number")]


def is_as_it_was(place: Path, code: int, output: str) -> None:
    found = [r["verdict"] for r in records(place)]
    assert code == 0, output
    assert found == told(place) and sorted(found) == ["complete", "pruned", "pruned"], output
    assert records(place)[found.index("complete")]["value"] == pytest.approx(1.042, abs=0.003)
    assert not list((place / "runs/s").glob("*/checkpoints"))
    assert json.loads((place / "runs/s/study.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("verdict", ["complete", "running", "interrupted"])
def test_a_trial_that_ended_before_its_driver_told_it_is_told(place: Path, verdict: str) -> None:
    run, record = trial(place, "complete")
    untell(place, record.number)
    if verdict != "complete":
        write_trial(run, replace(record, verdict=verdict, value=None))  # type: ignore[arg-type]
    code, output = study(place, *WORDS)
    assert "started" not in output, "it is not trained again"
    is_as_it_was(place, code, output)


def test_a_trial_whose_state_is_gone_is_trained_again(place: Path) -> None:
    run, record = trial(place, "complete")
    untell(place, record.number)
    write_trial(run, replace(record, verdict="interrupted", value=None))
    run.result.unlink()
    code, output = study(place, *WORDS)
    assert f"trial {record.number} started" in output
    is_as_it_was(place, code, output)


def test_a_trial_that_diverged_after_its_rung_is_concluded(place: Path) -> None:
    run, record = trial(place, "complete")
    untell(place, record.number)
    write_trial(run, replace(record, verdict="running", value=None))
    write_result(run, Result("diverged", "loss is nan at step 6"))
    _, output = study(place, *WORDS)
    again = read_trial(run)
    assert again is not None and (again.verdict, again.message) == ("diverged", "loss is nan at step 6")
    assert f"trial {record.number} started" not in output
    assert "running" not in {r["verdict"] for r in records(place)}


def test_what_went_on_in_an_idle_slot_is_pruned_once_the_study_is_over(place: Path) -> None:
    run, record = trial(place, "pruned")
    open_attempt = replace(record.attempts[-1], ended=None, verdict="running")
    write_trial(run, replace(record, verdict="running", message="", attempts=[*record.attempts, open_attempt]))
    standin._write_state(run, STEPS // 2, STEPS)
    left = read_study(place / "runs/s")
    assert left is not None
    write_study(place / "runs/s", replace(left, state="interrupted"))
    (place / "runs/s/report.html").unlink()
    code, output = study(place, *WORDS)
    assert "started" not in output and "running" not in output and (place / "runs/s/report.html").exists()
    assert all(attempt["ended"] for each in records(place) for attempt in each["attempts"])
    is_as_it_was(place, code, output)


@pytest.mark.parametrize("verdict", ["pruned", "running"])
def test_a_lost_trial_that_was_being_trained_again_is_taken_to_its_end(place: Path, verdict: str) -> None:
    run, record = trial(place, "complete")
    write_trial(run, replace(record, verdict=verdict, value=None))  # type: ignore[arg-type]
    write_result(run, Result("interrupted"))
    standin._write_state(run, STEPS // 2, STEPS)
    code, output = study(place, *WORDS)
    is_as_it_was(place, code, output)


def _without_data(configuration: Configuration) -> Experiment:
    """The check of a study whose best trial can no longer run; the ends of its ranges, composed ahead, still can."""
    config = configuration.config
    if config["network"]["dim"] == 8 and config["optimizer"]["lr"] not in (0.001, 0.0011):
        raise UserError("data.dir", "pictures", "there is no such folder")
    return check(configuration)


@pytest.mark.parametrize("verdict", ["pruned", "running"])
def test_one_that_can_no_longer_run_fails_by_name_and_the_study_goes_on(place: Path, verdict: str) -> None:
    run, record = trial(place, "complete")
    untell(place, record.number)
    write_trial(run, replace(record, verdict=verdict, value=None))  # type: ignore[arg-type]
    if verdict == "pruned":
        write_result(run, Result("interrupted"))
        standin._write_state(run, STEPS // 2, STEPS)
    code, output = study(place, *WORDS, check=_without_data)
    assert code == 1 and f"trial {record.number} failed: data.dir=pictures: there is no such folder" in output
    again = read_trial(run)
    assert again is not None and (again.verdict, again.number) == ("failed", record.number)
    assert len(records(place)) == 3, "the trial has one folder"
    assert json.loads((place / "runs/s/study.json").read_text())["state"] == "finished"


def test_an_interrupt_while_the_other_seeds_train_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour = {"steps": STEPS, "seconds": 0.1, "state": True}
    words = (*WORDS, "sweep.replicates=3")
    driver = start(tmp_path, *words, "launcher.slots=1", behaviour=behaviour)
    until(lambda: any(record["own"] for record in records(tmp_path)))
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate()
    assert driver.returncode == 130, output
    monkeypatch.setenv("STANDIN", json.dumps({"steps": STEPS, "state": True}))
    code, output = study(tmp_path, *words)
    assert code == 0, output
    points = [record for record in records(tmp_path) if record["replicate"] is None]
    again = [record for record in records(tmp_path) if record["replicate"] is not None]
    assert [r["verdict"] for r in points] == told(tmp_path)
    (best,) = (record for record in points if record["verdict"] == "complete")
    assert [(r["number"], r["verdict"]) for r in again] == [(best["number"], "complete")] * 2
    known = optuna.load_study(study_name="s", storage=open_storage(tmp_path / "runs/optuna.db")).trials
    assert known[best["number"]].user_attrs["standard error"][0] > 0
    assert best["value"] == pytest.approx(sum([best["own"], *(r["value"] for r in again)]) / 3)

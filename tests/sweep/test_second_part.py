"""A study with rungs on real processes: all stop early, the best go on from their state, and nothing is lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweeplora.rundir.metrics import read_metrics
from sweeplora.sweep.storage import open_storage
from tests.sweep.commands import PATIENCE_SECONDS, command, living_in, records, start, until
from tests.sweep.inline import study

DIMS = (1, 2, 4, 8, 16, 32, 64, 128)
WORDS = ("sweep.name=s", "search=grid", "pruner=rungs", "launcher.slots=2")
SPACE = f"network.dim=choice({','.join(map(str, DIMS))})"
SLOWLY: dict[str, Any] = {"steps": 20, "seconds": 0.12, "state": True}


def steps_of(folder: Path, record: dict[str, Any]) -> list[int]:
    (run,) = (folder / "runs/s").glob(f"{record['number']:03}-*")
    lines = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert list(read_metrics(run / "metrics.jsonl")["val/loss"]) == sorted(set(lines))
    return lines


def is_as_it_should_be(folder: Path) -> None:
    done = records(folder)
    complete = [record for record in done if record["verdict"] == "complete"]
    assert len(done) == 8 and {record["verdict"] for record in done} == {"complete", "pruned"}
    best = sorted(complete, key=lambda record: record["value"])
    assert best[0]["params"] == {"network.dim": 8} and 2 <= len(complete) <= 4
    for record in done:
        lines = steps_of(folder, record)
        assert lines == list(range(len(lines))), "each step was trained once"
        assert (lines[-1] == 20) == (record["verdict"] == "complete")
    assert not list((folder / "runs/s").glob("*/checkpoints/state*")), "no state is left of what will not go on"
    told = optuna.load_study(study_name="s", storage=open_storage(folder / "runs/optuna.db"))
    for trial, record in zip(told.trials, done, strict=True):
        assert trial.state.name.lower() == record["verdict"]
        assert trial.values == [record["value"]] if record["verdict"] == "complete" else trial.intermediate_values
    assert json.loads((folder / "runs/s/study.json").read_text())["state"] == "finished"


def test_the_best_quarter_goes_on_from_its_state(tmp_path: Path) -> None:
    code, output, errors = command(tmp_path, *WORDS, SPACE, behaviour=SLOWLY)
    assert (code, errors) == (0, ""), output
    is_as_it_should_be(tmp_path)
    assert "pruned at step" in output and "at its rung" in output
    best = min((r for r in records(tmp_path) if r["value"]), key=lambda record: record["value"])
    assert len(best["attempts"]) == 2 and f"trial {best['number']} complete" in output
    code, output = study(tmp_path, *WORDS[:-1], SPACE)
    assert code == 0 and "started" not in output
    is_as_it_should_be(tmp_path)


@pytest.mark.slow
def test_a_driver_killed_in_either_part_loses_nothing(tmp_path: Path) -> None:
    for part in (1, 2):
        driver = start(tmp_path, *WORDS, SPACE, behaviour=SLOWLY)
        if part == 1:
            until(lambda: sum(r["verdict"] == "pruned" for r in records(tmp_path)) >= 3)
        else:
            until(lambda: any(len(r["attempts"]) > 1 and r["verdict"] == "running" for r in records(tmp_path)))
        driver.send_signal(signal.SIGKILL)
        driver.communicate(timeout=PATIENCE_SECONDS)
        until(lambda: living_in(tmp_path) == [])
    code, output, errors = command(tmp_path, *WORDS, SPACE, behaviour=SLOWLY)
    assert (code, errors) == (0, ""), output
    is_as_it_should_be(tmp_path)


def test_trainings_that_validate_only_at_their_end_are_refused(tmp_path: Path) -> None:
    words = ("sweep.name=s", "search=grid", "pruner=rungs", "network.dim=choice(2,4)", "train.validate_every_epochs=0")
    code, said = study(tmp_path, *words)
    assert code == 2 and "no validation between step 2 and the last, 5; give train.validate_every_steps=2" in said

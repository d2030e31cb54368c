"""What is gone or damaged is not reused: it is said, and trained again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import read_trial, write_trial
from tests.sweep.commands import records, verdicts
from tests.sweep.inline import study
from tests.sweep.test_study import GRID, numbers


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(
            lambda run: shutil.rmtree(run / "weights"), "weights/standin.safetensors is gone", marks=pytest.mark.slow
        ),
        (lambda run: (run / "weights/standin.safetensors").write_bytes(b"weightz"), "is damaged"),
        (lambda run: cut(run / "metrics.jsonl"), "metrics.jsonl is not as the training left it"),
        pytest.param(
            lambda run: (run / "metrics.jsonl").unlink(),
            "metrics.jsonl has no value of val/loss",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_spoilt_run_is_not_reused_but_trained_again(tmp_path: Path, spoil: Any, said: str) -> None:
    study(tmp_path, "sweep.name=a", "search=grid", "network.dim=choice(8)")
    spoil(next((tmp_path / "runs/a").glob("000-*")))
    code, output = study(tmp_path, "sweep.name=b", "search=grid", "network.dim=choice(8)")
    assert code == 0, output
    assert "is not reused: " in output and said in output
    (trial,) = records(tmp_path, "b")
    assert len(trial["attempts"]) == 1
    assert (next((tmp_path / "runs/b").glob("000-*")) / "weights/standin.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize(
    "spoil",
    [shutil.rmtree, pytest.param(lambda run: (run / "trial.json").write_text("{}"), marks=pytest.mark.slow)],
)
def test_a_trial_whose_folder_is_gone_or_damaged_is_trained_again_under_its_number(tmp_path: Path, spoil: Any) -> None:
    study(tmp_path, *GRID, "reuse=false")
    before = records(tmp_path)
    spoil(next((tmp_path / "runs/s").glob("001-*")))
    code, output = study(tmp_path, *GRID, "reuse=false")
    assert code == 0 and "trial 1 is trained again" in output and "3 complete" in output
    assert [(r["number"], r["params"], r["value"]) for r in records(tmp_path)] == [
        (r["number"], r["params"], r["value"]) for r in before
    ]
    code, output = study(tmp_path, *GRID, "reuse=false")
    assert code == 0 and "again" not in output
    run = RunDir(next((tmp_path / "runs/s").glob("001-*")))
    record = read_trial(run)
    assert record is not None
    run.result.unlink()
    write_trial(run, replace(record, verdict="interrupted", value=None))  # a driver stopped while it trained again
    assert study(tmp_path, *GRID, "reuse=false")[0] == 0
    assert [r["value"] for r in records(tmp_path)] == [r["value"] for r in before]


def test_all_trials_lost_are_all_trained_again(tmp_path: Path) -> None:
    study(tmp_path, *GRID)
    for run in (tmp_path / "runs/s").glob("0*"):
        shutil.rmtree(run)
    assert study(tmp_path, *GRID)[0] == 0
    assert numbers(records(tmp_path)) == [0, 1, 2] and verdicts(tmp_path) == ["complete"] * 3


def test_damaged_weights_of_a_studys_own_trial_are_trained_again_and_deleted_ones_are_said(tmp_path: Path) -> None:
    study(tmp_path, *GRID)
    (tmp_path / next((tmp_path / "runs/s").glob("000-*")) / "weights/standin.safetensors").write_bytes(b"weightz")
    code, output = study(tmp_path, *GRID)
    assert code == 0 and "trial 0 is trained again: its weights are damaged" in output
    assert [len(r["attempts"]) for r in records(tmp_path)] == [2, 1, 1]
    for run in (tmp_path / "runs/s").glob("0*"):
        shutil.rmtree(run / "weights")
    code, output = study(tmp_path, *GRID)
    assert code == 0 and "weights: weights/standin.safetensors is gone; remove runs/s/" in output
    assert [len(r["attempts"]) for r in records(tmp_path)] == [2, 1, 1]


def test_a_single_run_with_spoilt_weights_trains_again_in_its_folder(tmp_path: Path) -> None:
    study(tmp_path, "name=one")
    shutil.rmtree(tmp_path / "runs/single/one/weights")
    code, output = study(tmp_path, "name=one")
    assert code == 0 and "is not reused: weights/standin.safetensors is gone" in output
    assert (tmp_path / "runs/single/one/weights/standin.safetensors").exists()
    assert not (tmp_path / "runs/single/one-2").exists()

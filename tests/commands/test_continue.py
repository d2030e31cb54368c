"""`continue`: which runs it takes, and that a longer training is the one that was longer from the beginning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sweeplora.__main__ import main
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import TrialRecord, read_trial, write_trial


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["continue", "--help"]) == 0
    assert "python -m sweeplora continue rank_alpha/3 train.epochs=20" in capsys.readouterr().out


def test_an_unknown_run_a_run_without_a_state_and_one_without_a_goal_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir.create(tmp_path / "single" / "cats", "train: {}\n")
    write_trial(run, TrialRecord("complete", signature="0" * 12))
    assert main(["continue", "cat", f"runs={tmp_path}", "train.epochs=3"]) == 2
    assert "cats" in capsys.readouterr().err
    assert main(["continue", "cats", f"runs={tmp_path}", "train.epochs=3"]) == 2
    assert "train it with train.keep_state=true reuse=false" in capsys.readouterr().err
    with hold(run.lock):
        assert main(["continue", "cats", f"runs={tmp_path}", "train.epochs=3"]) == 2
    assert "it is running" in capsys.readouterr().err


@pytest.mark.slow
def test_a_continued_run_is_a_run_of_its_own_and_equals_one_that_was_longer_from_the_start(
    tmp_path: Path, tiny_model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        f"runs={tmp_path}", f"model.path={tiny_model}", "data=folder", f"data.dir={pictures / 'train'}",
        f"data.val_dir={pictures / 'val'}", "tracking=none", "launcher.device=cpu", "launcher.threads=1", "sample=none",
        "train.validation_timesteps=2", "scheduler=constant",
    ]  # fmt: skip
    assert main([*words, "name=short", "train.epochs=1", "train.keep_state=true"]) == 0
    assert (tmp_path / "single/short/checkpoints/state.safetensors").exists()
    assert main(["continue", "short", f"runs={tmp_path}"]) == 2
    assert "say how far it shall go on" in capsys.readouterr().err
    assert main(["continue", "short", f"runs={tmp_path}", "train.epochs=2", "network.dim=3"]) == 2
    assert "network.dim=3" in capsys.readouterr().err
    assert main(["continue", "short", f"runs={tmp_path}", "train.epochs=2"]) == 0
    assert "goes on from step 4, trained to step 4 before, now to step 8" in capsys.readouterr().out
    assert main([*words, "name=long", "train.epochs=2"]) == 0
    ours, long = RunDir(tmp_path / "single/short-2"), RunDir(tmp_path / "single/long")
    record = read_trial(ours)
    assert record is not None and record.parent == "single/short"
    assert list(read_metrics(ours.metrics)["loss"]) == [5, 6, 7, 8]
    for key in ("loss", "val/loss", "val/relative"):
        assert read_metrics(ours.metrics)[key][8] == read_metrics(long.metrics)[key][8]
    made, wanted = (load_file(next(run.weights.glob("*[a-z].safetensors"))) for run in (ours, long))
    assert made.keys() == wanted.keys() and all(torch.equal(made[name], wanted[name]) for name in made)
    assert ours.state.exists()  # it keeps its own, as its parent did

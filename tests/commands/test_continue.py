"""`continue`: which runs it takes, and that a longer training is the one that was longer from the beginning."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sweeplora.__main__ import main
from sweeplora.check.configuration import check
from sweeplora.config.compose import compose
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import TrialRecord, read_trial, write_trial
from sweeplora.rundir.signature import signed_part
from sweeplora.rundir.state import About, here
from sweeplora.tensors.tree import write_tree


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


@pytest.fixture
def stopped(tmp_path: Path, tiny_model: Path, few: Path) -> str:
    """`runs=` of a folder with a run `cats` that stopped at step 2 of 4."""
    words = [
        f"runs={tmp_path}", f"model.path={tiny_model}", "data=folder", f"data.dir={few}", "sample=none", "name=cats",
        "tracking=none", "train.epochs=4", "scheduler=constant",
    ]  # fmt: skip
    made = check(compose(words))
    run = RunDir.create(tmp_path / "single" / "cats", made.yaml)
    write_trial(run, TrialRecord("interrupted", signature=made.signature, overrides=tuple(words), steps=made.steps))
    run.checkpoints.mkdir()
    about = About(here(made.signature, made.contents, made.code), 2, made.steps, signed_part(made.config))
    write_tree(run.state, {}, asdict(about))
    return f"runs={tmp_path}"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("train.resume=null", "train.resume=null: `continue` sets it to the state of RUN; leave it out"),
        ("++train.resume=other.safetensors", "train.resume=other.safetensors: `continue` sets it"),
        ("~train.resume", "train.resume=: `continue` sets it"),
        ("train={resume: null}", "train.resume=None: `continue` sets it"),
        ("+sweep=lr", "sweep=lr: `continue` trains one run and searches nothing; leave it out"),
        ("sweep.trials=5", "sweep.trials=5: `continue` trains one run"),
        ("+sweep.name=abc", "sweep.name=abc: `continue` trains one run"),
        ("sweep={trials: 5}", "sweep={trials: 5}: `continue` trains one run"),
        ("search=grid", "search=grid: `continue` trains one run"),
        ("search.seed=3", "search.seed=3: `continue` trains one run"),
        ("pruner=patient", "leave it out, or give train.patience=3, which is what it sets"),
        ("nightly.seeds=3", "nightly.seeds=3: `continue` trains one run"),
        ("sweep.objective=preference", "sweep.objective=preference: one run is compared with nothing"),
        ("optimizer.lr=1e-4,3e-4", "optimizer.lr=1e-4,3e-4: "),
    ],
)
def test_words_that_undo_the_continuing_or_are_about_a_study_are_refused(
    stopped: str, word: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["continue", "cats", stopped, "train.epochs=20", "launcher=dry", word]) == 2
    found = capsys.readouterr()
    assert told in found.err and "nothing was started" not in found.out


def test_without_them_it_goes_on_from_the_state(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["continue", "cats", stopped, "train.epochs=20", "launcher=dry", "sweep.objective=probe/loss"]) == 0
    assert "goes on from step 2, trained to step 4 before, now to step 20" in capsys.readouterr().out


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

"""What is not finite ends a training as diverged, naming the step, and is never left as its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from sweeplora.__main__ import main
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.scores import read_scores
from tests.launchers import name_them
from tests.run.test_train import result
from tests.run.trainings import Trainings

ONE_STEP = ("train.epochs=null", "train.steps=1", "sample=none")
BEYOND = ("optimizer.lr=3e38", "train.max_grad_norm=0", "+loss.scale=1e8", "loss._target_=tests.run.losses.Scaled")
UNSEEN = ("data.val_dir=null", "train.probe_images=0")


def assert_diverged(run: RunDir, said: str) -> None:
    found = result(run)
    assert found["status"] == "diverged", found
    assert said in str(found["message"])
    assert not (run.weights / "test.safetensors").exists()
    weights = found["weights"]
    assert weights is None or (run.path / str(weights)).exists()
    for file in run.weights.glob("*.safetensors"):
        assert all(bool(tensor.isfinite().all()) for tensor in load_file(file).values()), file


def test_a_command_whose_only_update_destroys_the_weights_fails_and_says_so(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name_them(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ("train.steps=1", "train.validation_images=1", "optimizer=sgd", "optimizer.lr=1e12", "keep_failed=true")
    code = main([*small, *words, "launcher=forked"])
    assert code == 1
    assert "diverged" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs/single").iterdir()
    record = read_json(folder / "result.json")
    assert record is not None and record["weights"] is None and "step 1" in record["message"]
    assert not list(folder.glob("weights/*"))


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        pytest.param("huge", ("optimizer.lr=1e12",), "step 1", marks=pytest.mark.slow),  # the command's own, above
        pytest.param("beyond", (*BEYOND,), "the weights after step 1 are not finite", marks=pytest.mark.slow),
        ("unseen", (*BEYOND, *UNSEEN), "the weights after step 1 are not finite"),
        ("half", ("optimizer.lr=1e7", *UNSEEN), "more than float16 holds; save in bf16 or fp32"),
        ("limited", ("optimizer.lr=1e30", "train.max_weight_norm=1", *UNSEEN), "weights after step 1 are not finite"),
        pytest.param(
            "by-steps",
            ("optimizer.lr=1e12", "train.steps=3", "train.save_every_steps=1", *UNSEEN),
            "step 1",
            marks=pytest.mark.slow,
        ),
        pytest.param("pickled", ("optimizer.lr=1e12", "train.save_as=ckpt", *UNSEEN), "step 1", marks=pytest.mark.slow),
    ],
)
def test_weights_that_are_not_finite_are_no_result(
    name: str, overrides: tuple[str, ...], said: str, trainings: Trainings
) -> None:
    assert_diverged(trainings.train(f"gone-{name}", "optimizer=sgd", *ONE_STEP, *overrides), said)


def test_a_rate_beyond_float32_is_refused(trainings: Trainings) -> None:
    found = result(trainings.train("rate", "optimizer=sgd", "optimizer.lr=1e39", *ONE_STEP))
    assert found["status"] == "refused" and str(found["message"]).startswith("optimizer.lr=1e+39")


def test_weights_that_fit_the_files_precision_are_saved(trainings: Trainings) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e7", "train.save_precision=fp32", *ONE_STEP, *UNSEEN)
    run = trainings.train("wide", *words)
    assert result(run)["status"] == "finished"
    tensors = load_file(run.weights / "test.safetensors")
    assert max(float(tensor.abs().max()) for tensor in tensors.values()) > 65504


def test_an_average_of_weights_that_are_not_finite_is_no_result(trainings: Trainings) -> None:
    words = ("optimizer=schedulefree", "scheduler=constant", "optimizer.lr=1e38", *ONE_STEP, *UNSEEN)
    assert_diverged(trainings.train("averaged", *words), "step 1")


@pytest.mark.slow
def test_every_process_ends_when_the_file_cannot_hold_the_weights(trainings: Trainings) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e7", *ONE_STEP, *UNSEEN)
    assert_diverged(trainings.train_together("half-two", 2, *words), "more than float16 holds")


def test_a_training_all_of_whose_steps_overflow_has_learned_nothing(trainings: Trainings) -> None:
    run = trainings.train(
        "skipped", "+loss.scale=1e30", "loss._target_=tests.run.losses.Scaled", "train.mixed_precision=fp16", *ONE_STEP
    )
    assert_diverged(run, "every gradient of steps 1 to 1 is more than fp16 holds")
    assert "grad_norm" not in read_metrics(run.metrics)


def test_a_training_whose_gradients_are_all_zero_is_no_training(trainings: Trainings) -> None:
    words = ("+loss.scale=0", "loss._target_=tests.run.losses.Scaled", "train.epochs=2", "sample=none", *UNSEEN)
    run = trainings.train("nothing", *words)
    found = result(run)
    assert found["status"] == "refused"
    assert "every gradient of steps 1 to 4 is zero: nothing is learned" in str(found["message"])
    assert not run.weights.exists()


def test_a_network_from_a_file_is_compared_with_the_base_without_it(trainings: Trainings) -> None:
    words = ("train.epochs=null", "train.steps=2", "train.probe_images=0", "sample=none")
    first = trainings.train("from-nothing", "train.save_precision=fp32", "optimizer.lr=0.02", *words)
    start = first.weights / "test.safetensors"
    again = trainings.train("from-file", f"network.weights={start}", *words)
    base, found = read_metrics(first.metrics)["val/loss"][0], read_metrics(again.metrics)
    assert found["val/loss"][0] == pytest.approx(read_metrics(first.metrics)["val/loss"][2], rel=1e-5)
    for step in (0, 2):
        assert found["val/relative"][step] == pytest.approx(found["val/loss"][step] / base, rel=1e-12)
    assert found["val/relative"][0] != 1.0
    scores = read_scores(again)
    assert scores is not None and scores.base is not None
    assert sum(scores.base) / len(scores.base) == pytest.approx(base, rel=1e-12)
    assert scores.base != scores.by_step[0]


def test_weights_half_written_before_a_kill_are_cleared_away(trainings: Trainings) -> None:
    run = trainings.folder("cleared", *ONE_STEP)
    run.weights.mkdir()
    (run.weights / ".test.safetensors.123.456.tmp").write_bytes(b"half")
    trainings.wait(trainings.start(run), run)
    assert [file.name for file in run.weights.iterdir()] == ["test.safetensors"]
    assert result(run)["weights"] == "weights/test.safetensors"

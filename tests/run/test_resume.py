"""A training that is killed and started again ends in the same bytes as one that is left alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.state import read_about
from tests.run.strikes import BUSY, DROPS, assert_same, half_masks, struck, undisturbed
from tests.run.test_train import result
from tests.run.trainings import Trainings
from tests.small_disk import mounted


def test_killed_several_times_in_the_middle_of_an_epoch_it_ends_in_the_same_bytes(trainings: Trainings) -> None:
    wanted = undisturbed(trainings, "left-alone", *BUSY, *DROPS)
    strikes = ("4 SIGKILL", "9 SIGUSR1", "10 SIGKILL", "5 SIGTERM", "3 SIGKILL", "2 SIGKILL")
    run = struck(trainings, "killed", strikes, *BUSY, *DROPS, "train.checkpoint_every_steps=3")
    assert_same(run, wanted)
    said = [line for line in run.log.read_text().splitlines() if line.startswith("goes on")]
    assert said == ["goes on from step 5 of 12", *["goes on from step 7 of 12"] * 3]


def test_a_state_that_is_asked_for_during_the_previews_does_not_wait_for_another_step(trainings: Trainings) -> None:
    run = trainings.folder(
        "asked", "network.preset=attn-only", "train.validation_images=1", "train.probe_images=0", "sample.steps=1",
        "train.batch_size=16", "train.accumulation=3", "sample.prompts=[a red shape]",
        "sample._target_=tests.run.previews.Asked",
    )  # fmt: skip
    (run.path / "asked").touch()
    for _ in range(2):
        trainings.wait(trainings.start(run), run)
    assert "goes on from step 1 of 2" in run.log.read_text() and result(run)["status"] == "finished"


def test_a_users_parts_that_draw_and_that_remember_go_on_exactly(trainings: Trainings) -> None:
    words = (
        "loss._target_=tests.run.losses.Recalling", "optimizer=any", "optimizer._target_=tests.run.losses.Rounding",
        "optimizer.lr=1e-3", "network.preset=attn-only", "train.epochs=null", "train.steps=4", "sample=none",
        "train.validation_images=1", "train.probe_images=0", "train.checkpoint_every_steps=2",
    )  # fmt: skip
    wanted = trainings.train("draws-left-alone", *words)
    run = trainings.folder("draws-killed", *words)
    (run.path / "strikes").write_text("4 SIGKILL\n2 SIGKILL")
    for _ in range(3):
        trainings.wait(trainings.start(run), run)
    assert run.log.read_text().count("goes on from step 2 of 4") == 2
    assert_same(run, wanted)


@pytest.mark.parametrize(
    "length",
    [
        ("train.steps=4", "train.epochs=null", "train.patience=9"),
        pytest.param(("train.patience=2",), marks=pytest.mark.slow),
    ],
)
def test_killed_at_its_last_previews_patience_gives_the_best_validation_once_and_no_preview_of_other_weights(
    trainings: Trainings, length: Sequence[str]
) -> None:
    words = (
        "network.preset=attn-only", "optimizer.lr=0.3", "scheduler=constant", "train.validate_every_steps=1",
        "train.validation_images=1", "train.probe_images=0", "sample._target_=tests.run.previews.Struck",
        "train.batch_size=16", "train.accumulation=3", "train.epochs=9", "sample.prompts=[a red shape]",
        "sample.steps=1", *length,
    )  # fmt: skip
    name = length[-1]
    wanted = trainings.train(f"{name}-left-alone", *words)
    last = int(str(result(wanted)["step"]))
    run = trainings.folder(f"{name}-killed", *words, f"train.checkpoint_every_steps={last - 1}")
    (run.path / "struck").touch()
    for _ in range(2):
        trainings.wait(trainings.start(run), run)
    assert f"goes on from step {last - 1} of" in run.log.read_text()
    assert_same(run, wanted)
    losses = read_metrics(run.metrics)["val/loss"]
    best = min((step for step in losses if step > 0), key=losses.__getitem__)
    assert best < last and losses[last] == losses[best], "the last step is not the best in this test"
    assert f"val/loss was best at step {best}" in str(result(run)["message"])
    assert list(run.samples.glob(f"{last:08d}_*.png")) and not list(run.weights.glob("*.png"))


def test_a_run_that_patience_ended_goes_on_with_its_best_weights_until_a_validation_is_better(
    trainings: Trainings,
) -> None:
    words = (
        "network.preset=attn-only", "optimizer.lr=0.3", "scheduler=constant", "train.validation_images=1",
        "train.probe_images=0", "train.batch_size=16", "train.accumulation=3", "train.epochs=5", "sample=none",
        "train.keep_state=true",
    )  # fmt: skip
    ended = trainings.train("ended-by-patience", *words, "train.patience=1")
    best, last = read_metrics(ended.metrics)["val/best"], int(str(result(ended)["step"]))
    assert last == 2 and best[1] == best[2], "patience did not end it in this test"
    goes_on = (*words, f"train.resume={ended.state}", "optimizer.lr=3")
    told = {}
    for patience in (1, 2):
        run = trainings.train(f"patience-of-{patience}", *goes_on, f"train.patience={patience}")
        found, told[patience] = result(run), run.log.read_text()
        assert found["step"] == 3 and "was best at step 1, whose weights these are" in str(found["message"])
        assert found["weights_sha256"] == result(ended)["weights_sha256"]
        assert read_metrics(run.metrics)["val/loss"] == {3: read_metrics(ended.metrics)["val/loss"][1]}
    assert "of step 1 is the best so far, 0 validations ago" in told[1] and "1 validations ago" in told[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("masks", ("data.mask_dir={masks}",)),
        ("encoders", ("network.text_encoders=true", "rates.text_encoder=1e-4")),
        ("prodigy", ("optimizer=prodigy",)),
        ("dadapt_adam", ("optimizer=dadapt_adam",)),
        ("dadapt_lion", ("optimizer=dadapt_lion",)),
        ("schedulefree", ("optimizer=schedulefree",)),
        ("schedulefree_radam", ("optimizer=schedulefree_radam",)),
        ("adafactor", ("optimizer=adafactor", "scheduler=adafactor")),
        ("lion", ("optimizer=lion",)),
        ("sgd", ("optimizer=sgd", "optimizer.lr=0.01")),
        ("bf16", ("train.mixed_precision=bf16", "train.network_precision=bf16")),
        ("tlora", ("network=tlora",)),
        ("dylora", ("network=dylora", "network.block_size=2")),
        ("file", ("network.weights={weights}",)),
    ],
)
def test_whatever_is_trained_goes_on_exactly(
    trainings: Trainings, name: str, overrides: Sequence[str], pictures: Path, tmp_path: Path
) -> None:
    values = {"masks": tmp_path, "weights": Path()}
    if name == "masks":
        half_masks(pictures, tmp_path)
    if name == "file":
        before = trainings.train("before", "network.preset=attn-only", "train.epochs=1", "sample=none")
        values["weights"] = before.weights / "test.safetensors"
    words = [word.format(**values) for word in overrides]
    if name not in ("tlora", "dylora"):  # which have neither
        words += DROPS
    wanted = undisturbed(trainings, f"{name}-left-alone", *BUSY, *words)
    strikes = ("4 SIGKILL", "11 SIGKILL", "2 SIGTERM", "2 SIGKILL")
    run = struck(trainings, f"{name}-killed", strikes, *BUSY, "train.checkpoint_every_steps=2", *words)
    assert_same(run, wanted)


@pytest.mark.slow
def test_a_state_that_does_not_fit_is_passed_over_by_name_and_the_training_starts_anew(trainings: Trainings) -> None:
    words = ("train.epochs=1", "sample=none", "loss._target_=tests.run.losses.Struck")
    run = trainings.folder("unfit", *words)
    (run.path / "strikes").write_text("3 SIGTERM")
    trainings.wait(trainings.start(run), run)
    data = bytearray(run.state.read_bytes())
    data[-1] ^= 1
    run.state.write_bytes(data)
    trainings.wait(trainings.start(run), run)
    assert f"{run.state} is passed over, the training starts anew: is not as it was written" in run.log.read_text()
    assert_same(run, trainings.train("fit", *words))


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_state_and_ends_no_training(trainings: Trainings, small_disk: Path) -> None:
    words = ("train.epochs=2", "sample=none", "train.save_every_epochs=0", "loss._target_=tests.run.losses.Struck")
    run = trainings.folder(str(small_disk / "run"), *words, "train.checkpoint_every_steps=2")
    (run.path / "strikes").write_text("4 SIGKILL")
    trainings.wait(trainings.start(run), run)
    first = read_about(run.state)
    assert first is not None and first.step == 2
    room = shutil.disk_usage(small_disk).free - (3 << 20)
    (small_disk / "filler").write_bytes(b"\0" * room)
    trainings.wait(trainings.start(run), run)
    said = run.log.read_text()
    assert "goes on from step 2 of 8" in said
    assert f"the state of step 4 is not written, an earlier one stays: disk={small_disk}" in said
    assert_same(run, trainings.train("room-enough", *words))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB, where this user may mount one."""
    with mounted(tmp_path / "disk", 16) as disk:
        yield disk


@pytest.mark.slow
def test_several_processes_go_on_together(trainings: Trainings) -> None:
    words = ("loss._target_=tests.run.losses.Struck", *BUSY, *DROPS)
    wanted = trainings.train_together("two-left-alone", 2, *words)
    run = trainings.folder("two-killed", *words, "train.checkpoint_every_steps=3")
    for strike in ("9 SIGKILL", "3 SIGTERM", "2 SIGUSR1"):
        (run.path / "strikes").write_text(strike)
        run.result.unlink(missing_ok=True)
        trainings.train_together("two-killed", 2, *words, "train.checkpoint_every_steps=3")
    assert_same(run, wanted)
    assert "goes on from step" in run.log.read_text()

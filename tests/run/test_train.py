"""Whole trainings of a tiny model: what they leave, and that nothing about them is left to chance."""

from __future__ import annotations

import math
import signal

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.scores import read_scores
from tests.run.trainings import Trainings
from tests.sweep.commands import until

LITTLE = ("sample=none", "train.probe_images=0")
"""For what is not about previews and the probe."""

STEPS = 8  # two epochs of batches of 4: squares 4 + 3, wide 3, tall 2


def result(run: RunDir) -> dict[str, object]:
    found = read_json(run.result)
    assert found is not None, run.log.read_text()[-3000:]
    return found


@pytest.fixture(scope="module")
def plain(trainings: Trainings) -> RunDir:
    return trainings.train("plain", "sample.at_first=true")


def test_a_training_leaves_numbers_samples_weights_and_a_result(plain: RunDir) -> None:
    found = result(plain)
    assert (found["status"], found["step"], found["steps"], found["world_size"]) == ("finished", STEPS, STEPS, 1)
    assert found["weights"] == "weights/test.safetensors"
    names = sorted(path.name for path in plain.weights.iterdir())
    assert names == ["test-000001.safetensors", "test.png", "test.safetensors"]
    assert sorted(p.name for p in plain.samples.iterdir()) == [
        "00000000_00.png",
        "00000000_01.png",
        "00000008_00.png",
        "00000008_01.png",
    ]
    assert Image.open(plain.samples / "00000008_01.png").size == (48, 80)
    series = read_metrics(plain.metrics)
    assert list(series["loss"]) == list(range(1, STEPS + 1))
    assert list(series["val/loss"]) == [0, 4, 8]
    assert list(series["probe/loss"]) == [0, 8]
    assert series["val/relative"][0] == 1.0
    assert series["val/best"][8] == min(series["val/loss"].values())
    for key in ("lr/unet", "grad_norm", "images_per_second", "memory_mib", "epoch"):
        assert all(math.isfinite(value) for value in series[key].values()), key


def test_validation_bands_average_to_the_objective(plain: RunDir) -> None:
    series = read_metrics(plain.metrics)
    # Two stratified timesteps an image: halves of equal weight, but bands of unequal counts, perhaps empty ones.
    bands = [steps[8] for key, steps in series.items() if key.startswith("val/band_")]
    assert len(bands) >= 2
    assert min(bands) <= series["val/loss"][8] <= max(bands)


def test_the_objective_is_the_mean_of_the_recorded_losses_of_its_triples(trainings: Trainings, plain: RunDir) -> None:
    found, series = read_scores(plain), read_metrics(plain.metrics)["val/loss"]
    assert found is not None
    assert len(set(found.triples)) == len(found.triples) == 3 * 2
    assert found.base == found.by_step[0]
    means = {step: sum(losses) / len(losses) for step, losses in found.by_step.items()}
    assert means == pytest.approx(series, rel=1e-12)


def test_the_same_config_gives_the_same_bytes(trainings: Trainings, plain: RunDir) -> None:
    again = trainings.train("again", "sample.at_first=true")
    for name in ("weights/test.safetensors", "samples/00000008_00.png"):
        assert (again.path / name).read_bytes() == (plain.path / name).read_bytes(), name
    assert read_metrics(again.metrics)["loss"] == read_metrics(plain.metrics)["loss"]


def test_the_first_validation_depends_on_nothing_but_model_and_images(trainings: Trainings, plain: RunDir) -> None:
    other = trainings.train(
        "other", "seed=7", "noise=multires", "noise.offset=0.1", "loss=min_snr", "network=loha", "train.batch_size=3",
        "train.epochs=1", *LITTLE
    )  # fmt: skip
    assert read_metrics(other.metrics)["val/loss"][0] == read_metrics(plain.metrics)["val/loss"][0]
    assert list(read_metrics(other.metrics)["val/loss"]) == [0, 5]
    mine, its = read_scores(plain), read_scores(other)
    assert mine is not None and its is not None
    assert its.triples == mine.triples and its.base == mine.base


def test_trials_that_differ_in_rank_see_the_same_noise(trainings: Trainings, plain: RunDir) -> None:
    """Adapters begin as nothing, so the first step's loss is the base model's on that noise."""
    other = trainings.train("rank2", "network.dim=2", "train.epochs=null", "train.steps=2", *LITTLE)
    assert read_metrics(other.metrics)["loss"][1] == read_metrics(plain.metrics)["loss"][1]
    assert read_metrics(other.metrics)["loss"][2] != read_metrics(plain.metrics)["loss"][2]


@pytest.mark.parametrize(
    ("network", "launched"),
    [
        ("locon", False),
        *(pytest.param(network, True, marks=pytest.mark.slow) for network in ("locon", "lokr", "dora")),
    ],
)
def test_two_processes_give_the_losses_and_weights_of_one(trainings: Trainings, network: str, launched: bool) -> None:
    """Batches of 3 over uneven buckets leave a share of one image, and none for the other process.

    `launched`: by `accelerate launch`, whose three processes import for longer than they train.
    """
    uneven = ("train.batch_size=3", "train.accumulation=2", "train.epochs=1")
    overrides = (f"network={network}", *uneven, "network.rank_dropout=0.1")
    one = trainings.train(f"one-{network}-{launched}", *overrides)
    together = trainings.train_together if launched else trainings.train_in_forks
    two = together(f"two-{network}-{launched}", 2, *overrides)
    assert result(two)["world_size"] == 2
    assert result(one)["world_size"] == 1
    ours, theirs = read_metrics(one.metrics), read_metrics(two.metrics)
    for key in ("loss", "grad_norm", "val/loss", "probe/loss"):
        assert theirs[key].keys() == ours[key].keys()
        assert list(theirs[key].values()) == pytest.approx(list(ours[key].values()), rel=1e-4), key
    mine, other = (load_file(run.weights / "test.safetensors") for run in (one, two))
    assert mine.keys() == other.keys()
    largest = max(float((mine[name].float() - other[name].float()).abs().max()) for name in mine)
    assert largest < 2e-3  # half precision files of weights around 1
    assert len(list(two.samples.iterdir())) == 2


def test_a_loss_that_is_not_finite_ends_the_run_and_names_step_and_files(trainings: Trainings) -> None:
    run = trainings.train("diverged", "optimizer.lr=1e25", "train.max_grad_norm=0", *LITTLE)
    found = result(run)
    assert found["status"] == "diverged"
    assert "step 2" in str(found["message"]) and ".png" in str(found["message"])


def test_sigterm_ends_a_training_after_a_whole_step(trainings: Trainings) -> None:
    run = trainings.folder("stopped", "train.epochs=500", *LITTLE)
    process = trainings.start(run)
    until(lambda: process.poll() is not None or len(read_metrics(run.metrics).get("loss", {})) >= 3)
    assert process.poll() is None
    process.signal(signal.SIGTERM)
    trainings.wait(process, run)
    found = result(run)
    assert (process.poll(), found["status"]) == (4, "interrupted")
    assert max(read_metrics(run.metrics)["loss"]) == found["step"]


def test_text_encoders_train_when_asked_and_their_captions_are_not_kept(trainings: Trainings) -> None:
    run = trainings.train("encoders", "network.text_encoders=true", "train.epochs=null", "train.steps=2", *LITTLE)
    assert result(run)["status"] == "finished", run.log.read_text()[-2000:]
    tensors = load_file(run.weights / "test.safetensors")
    for prefix in ("lora_te1_text_model_", "lora_te2_text_model_", "lora_unet_"):
        ups = [t for name, t in tensors.items() if name.startswith(prefix) and "lora_up" in name]
        assert ups and any(float(t.abs().max()) > 0 for t in ups), prefix
    assert "lr/text_encoder" in read_metrics(run.metrics)
    assert "texts" not in run.log.read_text()


def test_half_precision_trains_and_is_validated_in_float32(trainings: Trainings, plain: RunDir) -> None:
    half = ("train.mixed_precision=bf16", "train.gradient_checkpointing=true")
    run = trainings.train("bf16", *half, "train.epochs=null", "train.steps=1", *LITTLE)
    found, reference = read_metrics(run.metrics), read_metrics(plain.metrics)
    assert result(run)["status"] == "finished", run.log.read_text()[-2000:]
    assert found["val/loss"][0] == pytest.approx(reference["val/loss"][0], rel=2e-3)
    assert found["loss"][1] != reference["loss"][1]
    assert found["loss"][1] == pytest.approx(reference["loss"][1], rel=0.05)
    assert found["grad_norm"][1] == pytest.approx(reference["grad_norm"][1], rel=0.1)


def test_an_averaging_optimizer_saves_its_average(trainings: Trainings) -> None:
    run = trainings.train("averaging", "optimizer=schedulefree", "scheduler=constant", "train.epochs=1", *LITTLE)
    assert result(run)["status"] == "finished", run.log.read_text()[-2000:]
    assert read_metrics(run.metrics)["val/loss"][4] != read_metrics(run.metrics)["val/loss"][0]


def test_files_say_what_they_are(plain: RunDir) -> None:
    with safe_open(plain.weights / "test.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_dim"] == "8"
    assert metadata["ss_steps"] == str(STEPS)
    assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"


@pytest.mark.slow
def test_random_captions_train_without_kept_encodings(trainings: Trainings) -> None:
    drawn = ("data.shuffle_caption=true", "data.keep_tokens=1", "data.caption_dropout=0.2")
    run = trainings.train("captions", *drawn, "train.epochs=1", *LITTLE)
    assert result(run)["status"] == "finished", run.log.read_text()[-2000:]


def test_validation_probe_and_previews_come_at_the_asked_steps(trainings: Trainings) -> None:
    validation = ("train.validate_every_steps=4", "train.validate_every_epochs=0", "train.probe_every_epochs=1")
    run = trainings.train("asked", *validation, "sample.every_steps=4")
    series = read_metrics(run.metrics)
    assert list(series["val/loss"]) == list(series["probe/loss"]) == [0, 4, 8]
    assert sorted({p.name[:8] for p in run.samples.iterdir()}) == ["00000004", "00000008"]


def test_a_length_in_steps_ends_in_the_middle_of_an_epoch(trainings: Trainings) -> None:
    run = trainings.train("steps", "train.epochs=null", "train.steps=6", *LITTLE)
    found = result(run)
    assert (found["status"], found["step"]) == ("finished", 6)
    assert list(read_metrics(run.metrics)["val/loss"]) == [0, 4, 6]


def test_a_gradient_that_is_not_finite_ends_the_run_before_it_reaches_the_weights(trainings: Trainings) -> None:
    scaled = ("+loss.scale=1e30", "loss._target_=tests.run.losses.Scaled")
    run = trainings.train("overflow", *scaled, "train.epochs=1", *LITTLE)
    found = result(run)
    assert found["status"] == "diverged", run.log.read_text()[-2000:]
    assert "gradient of step 1" in str(found["message"]) and ".png" in str(found["message"])
    assert not run.weights.exists()

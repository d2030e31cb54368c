"""Whole trainings with what the guide asks for beside the plain case: each really trains, saves and validates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sweeplora.models import tiny
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from tests.models import originals_of
from tests.run.test_train import result
from tests.run.trainings import Trainings

SHORT = ("train.epochs=null", "train.steps=2", "sample=none", "train.probe_images=0")


@pytest.fixture(scope="module")
def short(trainings: Trainings) -> RunDir:
    """The plain case."""
    return trainings.train("short", *SHORT)


def finished(run: RunDir) -> dict[str, dict[int, float]]:
    """The numbers of a run that came to its end."""
    assert result(run)["status"] == "finished", run.log.read_text()[-3000:]
    return read_metrics(run.metrics)


def test_sd15_trains_and_names_its_layers_as_its_loaders_do(trainings: Trainings, tiny_sd15: Path) -> None:
    run = trainings.train(
        "sd15", "model=sd15", f"model.path={tiny_sd15}", "network.text_encoders=true", "model.clip_skip=2",
        "rates.text_encoder=1e-3", "train.epochs=null", "train.steps=2",
    )  # fmt: skip
    series = finished(run)
    assert series["val/loss"][2] != series["val/loss"][0]
    assert series["lr/text_encoder"][1] == 1e-3
    names = {name.partition(".")[0] for name in load_file(run.weights / "test.safetensors")}
    assert "lora_unet_down_blocks_0_attentions_0_proj_in" in names
    assert any(name.startswith("lora_te_text_model_encoder_layers_0_") for name in names)
    assert Image.open(run.samples / "00000002_01.png").size == (32, 64)


@pytest.fixture(scope="module")
def with_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with CLIP's own vocabulary and SDXL's latent scale, which is what a single file is read with."""
    folder = tiny.build(tmp_path_factory.mktemp("clip") / "model", clip=True)
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 0.13025}))
    return folder


@pytest.fixture(scope="module")
def from_folder(trainings: Trainings, with_clip: Path) -> dict[str, dict[int, float]]:
    return finished(trainings.train("folder", "model=sdxl", f"model.path={with_clip}", "data.resolution=64", *SHORT))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_one_file_trains_as_its_folder_does(
    suffix: str, trainings: Trainings, with_clip: Path, from_folder: dict[str, dict[int, float]], tmp_path: Path
) -> None:
    whole = originals_of.write(with_clip, tmp_path / f"whole.{suffix}")
    series = finished(trainings.train(suffix, "model=sdxl", f"model.path={whole}", "data.resolution=64", *SHORT))
    assert series["val/loss"] == from_folder["val/loss"]
    assert series["loss"] == from_folder["loss"]


@pytest.mark.slow
def test_half_precision_throughout_with_8_bits_below_still_learns(trainings: Trainings) -> None:
    run = trainings.train(
        "half", "train.mixed_precision=bf16", "train.network_precision=bf16", "model.base_precision=fp8",
        "train.gradient_checkpointing=true", "train.max_weight_norm=0.5", "optimizer.fused=false", *SHORT,
    )  # fmt: skip
    series = finished(run)
    assert series["val/loss"][2] != series["val/loss"][0]
    assert series["weight_norm/max"][2] <= 0.5 * 1.01


@pytest.mark.slow
def test_a_compiled_unet_gives_the_same_numbers(trainings: Trainings) -> None:
    """One shape only, since every bucket is traced on its own."""
    options = ("network.preset=attn-only", "data.bucket=false", *SHORT)
    compiled = trainings.train("compiled", "train.compile=eager", "train.lowram=true", *options)
    plain = trainings.train("uncompiled", *options)
    assert finished(compiled)["loss"] == pytest.approx(finished(plain)["loss"], rel=1e-4)


def test_retention_and_pickled_weights(trainings: Trainings, few: Path) -> None:
    run = trainings.train(
        "kept", "train.save_every_steps=1", "train.save_last_steps=2", "train.save_every_epochs=1",
        "train.save_last_epochs=1", "train.epochs=3", "train.save_as=ckpt", "sample=none", f"data.dir={few}",
        "train.batch_size=2",
    )  # fmt: skip
    finished(run)
    assert sorted(path.name for path in run.weights.iterdir()) == [
        "test-000002.ckpt", "test-step00000004.ckpt", "test-step00000005.ckpt", "test-step00000006.ckpt", "test.ckpt",
    ]  # fmt: skip
    state = torch.load(run.weights / "test.ckpt", weights_only=True)
    same = torch.load(run.weights / "test-step00000006.ckpt", weights_only=True)
    assert state.keys() == same.keys() and all(torch.equal(state[name], same[name]) for name in state)


def test_pictures_that_change_at_every_step_are_encoded_at_every_step(trainings: Trainings, short: RunDir) -> None:
    options = ("data.random_crop=true", "data.color=true", "data.flip=true", *SHORT)
    alone = trainings.train("online", *options, "data.workers=0")
    ahead = trainings.train("ahead", *options, "data.workers=3")
    assert finished(alone)["loss"] == finished(ahead)["loss"]
    assert finished(short)["loss"][1] != finished(alone)["loss"][1]


def test_several_folders_with_masks_and_regularisation_images(
    trainings: Trainings, pictures: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for picture in (pictures / "train").glob("*.png"):
        Image.new("L", Image.open(picture).size, 128).save(masks / picture.name)
    subsets = f"[{{dir: '{pictures}/train', mask_dir: '{masks}'}}, {{dir: '{pictures}/val', is_reg: true}}]"
    common = (f"data.subsets={subsets}", "data.dir=null", "data.val_dir=null", "data.val_split=0.1", *SHORT)
    run = trainings.train("subsets", *common, "data.prior_loss_weight=0.5")
    series = finished(run)
    listed = read_json(run.path / "dataset.json")
    assert listed is not None
    splits = [entry["split"] for entry in listed["files"]]
    assert splits.count("regularisation") == 3 and splits.count("validation") == 1
    other = finished(trainings.train("unweighted", *common))
    assert other["loss"] != series["loss"]


def test_long_captions_change_from_step_to_step(trainings: Trainings) -> None:
    run = trainings.train(
        "captions", "model.max_tokens=225", "data.shuffle_caption=true", "data.keep_tokens=1",
        "data.token_warmup_steps=3", "data.caption_dropout=0.3", "noise=perturbed", *SHORT,
    )  # fmt: skip
    assert finished(run)["val/loss"][2] > 0


def test_a_file_goes_on_where_another_training_ended(trainings: Trainings, short: RunDir) -> None:
    weights = short.weights / "test.safetensors"
    second = trainings.train("second", f"network.weights={weights}", "train.save_precision=fp32", *SHORT)
    ended, began = finished(short)["val/loss"][2], finished(second)["val/loss"][0]
    assert began == pytest.approx(ended, rel=1e-3)
    merged = trainings.train("merged", f"model.base_weights=['{weights}']", *SHORT)
    assert finished(merged)["val/loss"][0] == pytest.approx(ended, rel=1e-3)

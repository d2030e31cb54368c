"""A model family of a user's own, from a YAML file and a class beside the command, in a real training."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from tests.networks.test_own_algorithm import folder, result, train, train_here

__all__ = ["folder"]  # the fixture


@pytest.fixture
def words(tiny_model: Path, pictures: Path) -> list[str]:
    data = ["data=folder", f"data.dir={pictures / 'train'}", f"data.val_dir={pictures / 'val'}"]
    return [*data, f"model.path={tiny_model}", "train.epochs=null", "train.steps=2", "train.validation_timesteps=2"]


def test_a_users_family_trains_and_its_files_say_so(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(folder, *words, "model=mine", "runs=mine")
    mine, weights = result(folder / "mine")
    assert mine["val/loss"][2] != mine["val/loss"][0]
    with safe_open(weights, "pt") as file:
        told = file.metadata()
    assert told["ss_base_model_version"] == "mine_v1"
    assert told["modelspec.architecture"] == "mine-v1/lora"
    monkeypatch.chdir(folder)
    train_here(folder, *words, "runs=sdxl", "model=sdxl")
    shipped, _ = result(folder / "sdxl")
    assert shipped["val/loss"][0] != mine["val/loss"][0]

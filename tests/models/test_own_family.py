"""A model family of a user's own, from a YAML file and a class beside the command, in a real training."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from sweeplora.__main__ import main
from tests.launchers import name_them
from tests.networks.test_own_algorithm import folder, result, train_here

__all__ = ["folder"]  # the fixture


def test_a_users_family_trains_and_its_files_say_so(
    folder: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*small, "train.steps=2"]
    name_them(folder)
    monkeypatch.chdir(folder)
    assert main([*words, "model=mine", "runs=mine", "launcher=forked"]) == 0, capsys.readouterr()
    mine, weights = result(folder / "mine")
    assert mine["val/loss"][2] != mine["val/loss"][0]
    with safe_open(weights, "pt") as file:
        told = file.metadata()
    assert told["ss_base_model_version"] == "mine_v1"
    assert told["modelspec.architecture"] == "mine-v1/lora"
    train_here(folder, *words, "runs=sdxl", "model=sdxl")
    shipped, _ = result(folder / "sdxl")
    assert shipped["val/loss"][0] != mine["val/loss"][0]

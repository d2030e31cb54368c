"""The guide's two commands, from a pasted text to a training that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeplora.check.configuration import check
from sweeplora.commands.convert import main
from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from tests.convert.commands import guide_sdxl, noob
from tests.run.trainings import PATIENCE_SECONDS, train_in_a_fork

_SRC = Path(__file__).resolve().parents[2] / "src"

_OPTIMIZER = """
import torch

class LodeW(torch.optim.AdamW):
    def __init__(self, params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0):
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, with a user's optimizer and prompts."""
    (tmp_path / "my_optim.py").write_text(_OPTIMIZER)
    (tmp_path / "prompts.txt").write_text("shape 3, ellipse --d 5 --s 2 --w 32 --h 32\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path


def _named_folder(pictures: Path, place: Path) -> Path:
    """The pictures as sd-scripts wants them, below `1_shape`."""
    shutil.copytree(pictures / "train", place / "images" / "1_shape")
    return place / "images"


def _dataset(pictures: Path, place: Path) -> Path:
    file = place / "dataset.toml"
    file.write_text(
        "[general]\nenable_bucket = true\nbucket_no_upscale = true\nbucket_reso_steps = 16\n"
        "caption_extension = '.txt'\n"
        "[[datasets]]\nresolution = 64\nbatch_size = 2\n"
        f"[[datasets.subsets]]\nimage_dir = '{pictures / 'train'}'\n"
        f"[[datasets.subsets]]\nimage_dir = '{pictures / 'val'}'\nnum_repeats = 2\nkeep_tokens = 1\n"
    )
    return file


def _composed(name: str, *overrides: str) -> dict[str, Any]:
    return compose([f"+sweep={name}", "tracking=none", *overrides]).config


def _script(place: Path, text: str) -> str:
    (place / "train.sh").write_text(text)
    return str(place / "train.sh")


def test_the_guides_sdxl_command_composes_and_passes_the_check(place: Path, tiny_model: Path, pictures: Path) -> None:
    images = _named_folder(pictures, place)
    assert main([_script(place, guide_sdxl(tiny_model, images, place / "prompts.txt"))]) == 0
    config = _composed("style_v1")
    assert config["sweep"]["name"] is None
    assert config["network"]["_target_"].endswith("LoCon")
    assert (config["network"]["preset"], config["network"]["block_dims"]) == ("full", [4] * 23)
    assert (config["noise"]["multires_iterations"], config["train"]["max_weight_norm"]) == (6, 1.0)
    assert (config["train"]["accumulation"], config["data"]["keep_tokens"], config["data"]["shuffle_caption"]) == (
        6,
        1,
        True,
    )
    assert (config["sample"]["sampler"], config["sample"]["every_steps"]) == ("euler_a", 100)
    assert (config["data"]["cache_latents"], config["data"]["latents"]) == (True, "frozen")
    assert check(compose(["+sweep=style_v1"])).steps == 2


def test_25_blocks_on_sdxl_say_the_right_count_and_write_nothing(place: Path, tiny_model: Path, pictures: Path) -> None:
    text = guide_sdxl(tiny_model, pictures / "train", place / "prompts.txt", blocks=25)
    with pytest.raises(UserError) as refused:
        main([_script(place, text)])
    assert "25 numbers; give 23" in str(refused.value)
    assert "1 embedding, 9 down, 3 mid, 9 up, 1 out" in str(refused.value)
    assert not (place / "sweeps").exists()


def test_the_noob_command_composes_and_passes_the_check(place: Path, tiny_model: Path, pictures: Path) -> None:
    assert main([noob(tiny_model, _dataset(pictures, place))]) == 0
    config = _composed("noob")
    assert (config["model"]["prediction"], config["model"]["zero_terminal_snr"]) == ("v_prediction", True)
    assert (config["model"]["max_tokens"], config["loss"]["debiased"]) == (225, True)
    assert (config["network"]["dim"], config["network"]["factor"], config["network"]["dora"]) == (100000, 16, True)
    assert (config["data"]["keep_tokens_separator"], config["data"]["flip"]) == ("|||", True)
    assert config["optimizer"] == {
        "_target_": "my_optim.LodeW",
        "_partial_": True,
        "lr": 1e-3,
        "weight_decay": 0.1,
        "betas": [0.9, 0.99],
    }
    assert (config["scheduler"]["num_cycles"], config["scheduler"]["warmup"]) == (0.375, 0.1)
    assert (config["rates"]["text_encoder"], config["network"]["text_encoders"]) == (1e-4, True)
    assert check(compose(["+sweep=noob"])).steps == 3


def test_a_sweep_can_be_added_to_what_was_written(place: Path, tiny_model: Path, pictures: Path) -> None:
    assert main([noob(tiny_model, _dataset(pictures, place))]) == 0
    file = place / "sweeps" / "noob.yaml"
    file.write_text(file.read_text() + "sweep:\n  name: noob_ranks\n  space:\n    network.dim: choice(4, 100000)\n")
    asked = {
        "name": "noob_ranks",
        "objective": "val/loss",
        "trials": None,
        "space": {"network.dim": "choice(4, 100000)"},
    }
    assert _composed("noob")["sweep"].items() >= asked.items()


def _trained(place: Path, name: str, *overrides: str) -> dict[str, Any]:
    composed = compose([f"+sweep={name}", f"runs={place / 'runs'}", *overrides])
    run = RunDir.create(place / "run", composed.yaml)
    train_in_a_fork(run, place)
    result: dict[str, Any] = json.loads(run.result.read_text())
    assert result["status"] == "finished", run.log.read_text()[-2000:]
    assert (run.path / result["weights"]).stat().st_size > 0
    return result


def test_the_guides_command_really_trains(place: Path, tiny_model: Path, pictures: Path) -> None:
    images = _named_folder(pictures, place)
    assert main([guide_sdxl(tiny_model, images, place / "prompts.txt")]) == 0
    result = _trained(place, "style_v1")
    assert result["step"] == result["steps"] == 2


def test_the_noob_command_really_trains(place: Path, tiny_model: Path, pictures: Path) -> None:
    assert main([noob(tiny_model, _dataset(pictures, place))]) == 0
    result = _trained(place, "noob", "train.steps=1")
    assert result["step"] == result["steps"] == 1


@pytest.mark.slow
def test_the_noob_command_really_trains_from_the_command_line(place: Path, tiny_model: Path, pictures: Path) -> None:
    words = [sys.executable, "-m", "sweeplora"]
    for more in (["convert", noob(tiny_model, _dataset(pictures, place))], ["+sweep=noob", "tracking=none"]):
        done = subprocess.run(
            [*words, *more],
            env=os.environ | {"PYTHONPATH": str(_SRC), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    (result,) = (place / "runs" / "single").glob("*/result.json")
    said = json.loads(result.read_text())
    assert (said["status"], said["step"], said["steps"]) == ("finished", 3, 3)

"""Which configurations a machine and a command line leave out, and in which order and with which numbers they train."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.experiment import Experiment
from sweeplora.nightly.plan import Configured, NightPlan


@pytest.mark.slow
def test_a_model_and_data_of_ones_own_leave_out_what_brings_its_own(
    tiny_model: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    own = ["model=sdxl", f"model.path={tiny_model}", "data=folder", f"data.dir={pictures / 'train'}", "train=full"]
    words = ["run", "--dry-run", "+sweep=nightly", *own, "data.val_split=0.2", "train.mixed_precision=no"]
    assert main([*words, "optimizer.lr=1e-4"]) == 0
    said = capsys.readouterr().out
    assert "sd15 is left out: it brings its own model, and the command line names one" in said
    assert "dora_min_snr_masks is left out: it brings its own data, and the command line names one" in said
    assert "fp16 is left out: it needs gpus: 1; this machine has 0" in said
    trained = [line.partition(":")[0] for line in said.splitlines() if "NO_BASELINE" in line]
    assert {"locon_offset", "lokr_text_encoders", "v_prediction_accumulation"} <= set(trained)
    assert not list(tmp_path.glob("runs/nightly-*"))


def test_every_shipped_baseline_answers_the_question_that_a_fresh_clone_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A change of sweeps/nightly.yaml, of the shipped model or of its data makes another key: accept new baselines."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    shipped = Path(__file__).resolve().parents[2] / "baselines"
    assert main(["run", "--dry-run", "+sweep=nightly", f"runs={tmp_path}", f"nightly.baseline={shipped}"]) == 0
    said = capsys.readouterr().out
    assert "NO_BASELINE" not in said
    asked = [file.name for file in shipped.iterdir() if f"{file.name.partition('-')[0]} is left out" not in said]
    assert len(asked) >= 5 and all(f"against {name}, trained" in said for name in asked)


def plan(*names: str) -> NightPlan:
    made = [
        Configured(name, (f"network={name}",), Experiment({}, (), (), "", {}, {}, 1, "", True, 1)) for name in names
    ]
    return NightPlan(tuple(made), (), 7, 10)


def test_numbers_follow_from_configuration_and_seed_alone() -> None:
    night = plan("a", "b", "c")
    first = night.trainings([0])
    assert [(one.configuration, one.seed, one.number) for one in first] == [("a", 7, 0), ("b", 7, 1), ("c", 7, 2)]
    every = [*night.trainings(range(10)), *night.again()]
    assert len({one.number for one in every}) == 33
    assert night.training("b", 4) == next(one for one in every if (one.configuration, one.seed) == ("b", 11))
    assert night.training("b", 4).words == ("network=b", "seed=11")
    assert [(one.seed, one.again) for one in night.again()] == [(7, True)] * 3

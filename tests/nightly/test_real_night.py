"""Whole nights as commands with real trainings: a planted learning rate, and a night that is killed and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeplora.config.catalog import shipped
from sweeplora.nightly.folder import NightFolder, nights
from tests.sweep.commands import ROOT, until

QUESTION = """# @package _global_
# Does it still learn?  Twelve steps.
defaults:
  - override /tracking: none
  - override /sample: none
train: {epochs: null, steps: 12, batch_size: 2, validate_every_epochs: 0, validation_images: 4, probe_images: 2}
launcher: {threads: 1, device: cpu}
reuse: false
nightly:
  configurations:
    adam: [network.dim=4, network.alpha=64]
    lion: [network.dim=4, optimizer=lion]
  needs: {}
  seeds: 5
  most_seeds: 10
  baseline: baselines
  secondary: [probe/loss]
  stop_at_canary: true
  speed: null
  against: null
  bisect: null
"""

pytestmark = pytest.mark.slow


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sweeplora", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def command(folder: Path, *words: str) -> tuple[int, str]:
    process = start(folder, *words)
    said, _ = process.communicate(timeout=1200)
    return process.returncode, said


def newest(folder: Path) -> NightFolder:
    return nights(folder / "runs")[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a question and the baselines that a night of ten seeds became."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "sweeps").mkdir()
    (folder / "sweeps/small.yaml").write_text(QUESTION)
    code, said = command(folder, "+sweep=small", "nightly.seeds=10")
    assert code == 2, said
    code, said = command(folder, "baseline", "accept", newest(folder).path.name, "--reason", "the first one")
    assert code == 0, said
    return folder


def test_a_killed_night_says_infra_goes_on_and_passes_with_the_same_bits(place: Path) -> None:
    before = newest(place)
    process = start(place, "+sweep=small")

    def one_is_complete() -> bool:
        night = newest(place)
        return night != before and len(list(night.path.glob("*/result.json"))) >= 2

    until(one_is_complete, seconds=600)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    night = newest(place)
    report = night.read_report()
    assert report is not None and (report["verdict"], report["finished"]) == ("INFRA", False)
    done = sorted(file.parent.name for file in night.path.glob("*/result.json"))
    code, said = command(place, "+sweep=small")
    assert code == 0, said
    assert newest(place) == night and f"{night.path.name} goes on" in said
    numbers = {f"trial {int(name.partition('-')[0])} started:" for name in done[:2]}
    assert sum(line in said for line in numbers) <= 1  # one may have been on its way when it was killed
    content = json.loads(night.report.read_text())
    assert {one["verdict"] for one in content["criteria"]} == {"PASS"}
    canaries = [one["sentence"] for one in content["criteria"] if one["metric"] == "canary"]
    assert canaries == ["the first 12 losses are the same to the last bit"] * 2


def test_a_learning_rate_doubled_in_conf_is_a_regression_of_what_uses_it_alone(place: Path) -> None:
    file = place / "conf/optimizer/adamw.yaml"
    file.parent.mkdir(parents=True)
    text = (shipped("conf") / "optimizer/adamw.yaml").read_text()
    assert "lr: 2e-3" in text
    file.write_text(text.replace("lr: 2e-3", "lr: 4e-3"))
    code, said = command(place, "+sweep=small")
    assert code == 1, said
    report = newest(place).read_report()
    assert report is not None and report["verdict"] == "REGRESSED"
    worse = {one["configuration"] for one in report["criteria"] if one["verdict"] == "REGRESSED"}
    assert worse == {"adam"}
    assert {one["verdict"] for one in report["criteria"] if one["configuration"] == "lion"} == {"PASS"}
    assert report["seeds"] == {"adam": 1, "lion": 5}  # the canary told, and no more was spent
    assert report["differences"] == {"adam": ["optimizer.lr 0.002 -> 0.004"]}
    assert "different from the baseline of adam: optimizer.lr 0.002 -> 0.004" in said

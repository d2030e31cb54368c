"""Sweeps by the command line on a real GPU: several trials share it, and one that does not fit is cut into pieces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from tests.run.trainings import ROOT

pytestmark = pytest.mark.gpu

HOLDER = """
import sys, torch
torch.zeros(1, device="cuda")
free, _ = torch.cuda.mem_get_info()
held = torch.empty(free - int(sys.argv[1]), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> list[str]:
    """Ten pictures that take some memory."""
    folder = tmp_path_factory.mktemp("large")
    random = np.random.default_rng(0)
    for index in range(10):
        Image.fromarray(random.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"picture {index}")
    return [
        *(f"model.path={tiny_model}", "data=folder", f"data.dir={folder}", "data.resolution=256", "data.val_split=0.2"),
        *("train.epochs=null", "train.steps=3", "train.batch_size=8", "train.probe_images=0", "sample=none"),
        *("tracking=none", "launcher.device=cuda", "search=grid", "network.preset=attn-mlp"),
    ]


def sweep(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command in a folder: exit code, and all that it said."""
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command, environment = [sys.executable, "-m", "sweeplora", *words], os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def trials(study: Path) -> list[dict[str, Any]]:
    return [json.loads((path / "trial.json").read_text()) for path in sorted(study.glob("[0-9]*"))]


@contextmanager
def only(free: int) -> Iterator[None]:
    """Within the context the GPU has so many free bytes."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(free)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait()


def test_trials_share_a_gpu_and_each_slot_keeps_its_worker(tmp_path: Path, words: list[str]) -> None:
    asked = ("sweep.name=s", "network.dim=choice(2,4,8,16)", "launcher.trials_per_gpu=2")
    code, said = sweep(tmp_path, *words, *asked)
    assert code == 0, said
    found = trials(tmp_path / "runs/s")
    assert [trial["verdict"] for trial in found] == ["complete"] * 4
    assert len({attempt["pid"] for trial in found for attempt in trial["attempts"]}) == 2
    system = read_metrics(RunDir(next((tmp_path / "runs/s").glob("0*"))).path / "system.jsonl")
    assert max(system["system/gpu_0_memory_usage_megabytes"].values()) > 100


def test_a_trial_that_does_not_fit_is_tried_again_in_pieces_and_ends_alike(tmp_path: Path, words: list[str]) -> None:
    alone = [*words, "network.dim=choice(4)", "launcher.on_oom=halve"]
    code, said = sweep(tmp_path, *alone, "sweep.name=fits")
    assert code == 0, said
    code, said = sweep(tmp_path, *alone, "sweep.name=small", "train.batch_size=1")
    assert code == 0, said
    whole, small = (RunDir(next((tmp_path / "runs" / name).glob("0*"))) for name in ("fits", "small"))
    peak, least = (max(read_metrics(run.metrics)["memory_mib"].values()) for run in (whole, small))
    context = 700
    with only(int((context + (peak + least) / 2) * 2**20)):
        code, said = sweep(tmp_path, *alone, "sweep.name=tight")
    assert code == 0, said
    (trial,) = trials(tmp_path / "runs/tight")
    assert trial["pieces"] > 1 and "times the accumulation" in said
    tight = RunDir(next((tmp_path / "runs/tight").glob("0*")))
    wanted = read_metrics(whole.metrics)["loss"]
    assert read_metrics(tight.metrics)["loss"] == {step: pytest.approx(loss, rel=1e-4) for step, loss in wanted.items()}


def test_what_was_missing_is_taught_to_the_search(tmp_path: Path, words: list[str]) -> None:
    with only(800 << 20):
        code, said = sweep(tmp_path, *words, "sweep.name=s", "network.dim=choice(4)", "train.batch_size=8")
    assert code == 1 and "out of memory" in said, said
    (trial,) = trials(tmp_path / "runs/s")
    assert trial["verdict"] == "failed" and len(trial["attempts"]) == 1, said

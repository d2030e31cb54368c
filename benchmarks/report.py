"""How long the report of 200 trials takes, with previews as large as those of SDXL.

    python benchmarks/report.py [--trials 200] [--steps 1000] [--side 1024] [--prompts 2] [--keep FOLDER]

Makes the folders that a finished study leaves, without training, and writes its report: with nothing kept from an
earlier one, then again. Prints the time by the clock, and the CPU time of all processes: on a busy machine only the
latter means something.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from sweeplora.report.sheets import kept_in
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import (
    Attempt,
    Result,
    StudyRecord,
    TrialRecord,
    write_result,
    write_study,
    write_trial,
)
from sweeplora.rundir.scores import ScoresWriter

_STUDY = "large"
_RANKS = (2, 4, 8, 16, 32, 64, 96, 128)
_PICTURES = 8
"""Different pictures of a prompt; trials share them by hard links, which cost as much to decode."""

_TRIPLES = 32
_VALIDATIONS = 10


def make_study(runs: Path, asked: argparse.Namespace) -> Path:
    """Write the study's folder; `asked` has the numbers of trials, steps and prompts, and the side of a preview."""
    study = runs / _STUDY
    pictures = [_pictures(runs / "pictures", prompt, asked.side) for prompt in range(asked.prompts)]
    for number in range(asked.trials):
        _make_trial(study, number, asked.steps, pictures)
    space = {"network.dim": f"choice({', '.join(map(str, _RANKS))})", "optimizer.lr": "tag(log, interval(1e-5, 1e-2))"}
    record = StudyRecord(_STUDY, "val/loss", 1.7e9, "finished", ended=1.7e9 + 9000, trials=asked.trials, space=space)
    write_study(study, record)
    return study


def _pictures(folder: Path, prompt: int, side: int) -> list[Path]:
    """Pictures with the detail of photographs: smooth shapes and a little noise."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(prompt)
    about = PngImagePlugin.PngInfo()
    about.add_itxt("prompt", f"prompt number {prompt}, a photograph of a red apple on a table")
    found = []
    for index in range(_PICTURES):
        small = Image.fromarray(generator.integers(0, 255, (side // 32, side // 32, 3), np.uint8))
        smooth = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + generator.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
        found.append(folder / f"{prompt}-{index}.png")
        Image.fromarray(noisy).save(found[-1], pnginfo=about)
    return found


def _make_trial(study: Path, number: int, steps: int, pictures: Sequence[Sequence[Path]]) -> None:
    rank, rate = _RANKS[number % len(_RANKS)], 10 ** (-5 + 3 * ((number * 0.618) % 1))
    value = 0.1 + 0.01 * abs(math.log10(rate) + 3.3) + 0.002 * abs(math.log2(rank) - 4)
    run = RunDir.create(study / f"{number:03}-{number:012x}", "network: {weights: null}\n" + "seed: 0\n" * 150)
    run.weights.mkdir()
    (run.weights / "large.safetensors").write_bytes(b"weights" * rank)
    run.samples.mkdir()
    for prompt, of_prompt in enumerate(pictures):
        for step in (0, steps):
            os.link(of_prompt[(number if step else 0) % _PICTURES], run.samples / f"{step:08}_{prompt:02}.png")
    writer = MetricsWriter(run.metrics)
    every = max(1, steps // _VALIDATIONS)
    for step in range(steps + 1):
        values = {"loss": value + 1 / (1 + step), "lr": rate, "grad_norm": 1.0}
        if step % every == 0:
            values |= {"val/loss": value + 0.05 / (1 + step / every), "probe/loss": value}
        writer.write(step, values)
    writer.close()
    scores = ScoresWriter(run.scores, [f"{index:02x}:8x8:0:17:0:epsilon" for index in range(_TRIPLES)])
    for step in range(0, steps + 1, every):
        scores.write(step, [value + index / 1e4 for index in range(_TRIPLES)])
    metrics = {"val/loss": value, "val/relative": value / 0.2, "val/best": value}
    write_result(run, Result("finished", step=steps, weights="weights/large.safetensors", metrics=metrics))
    params = {"network.dim": rank, "optimizer.lr": rate}
    record = TrialRecord("complete", _STUDY, number, f"{number:012x}", params=params, value=value, steps=steps)
    record.attempts.append(Attempt(1.7e9 + number, ended=1.7e9 + number + 40, exit_code=0, verdict="complete"))
    write_trial(run, record)


def measure(runs: Path) -> dict[str, float]:
    """Seconds by the clock and of all processors that the command takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "sweeplora", "report", _STUDY, f"runs={runs}"], check=True, stdout=2)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(wall, 2), "processor": round(spent, 2)}


def main() -> None:
    """Make the study, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--side", type=int, default=1024, help="pixels of a preview's side")
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="make the study here and leave it, or use the one that is here")
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="sweeplora-"))
    runs = folder / "runs"
    try:
        study = runs / _STUDY if runs.exists() else make_study(runs, asked)
        shutil.rmtree(kept_in(study), ignore_errors=True)
        print(json.dumps({"first": measure(runs), "again": measure(runs)}))
    finally:
        if asked.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()

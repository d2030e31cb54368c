"""Time to a trial's first optimizer step: alone, and in a study whose slot keeps a worker.

    python benchmarks/startup.py [--trials 6] [--set model=sdxl model.path=FOLDER ...]

Runs one training, and a study in one slot, each of one step on one image without previews, in a temporary folder whose
caches the first training fills. Prints one JSON object with wall-clock seconds: `alone` from the start of the command;
`asked` for every trial from the end of the trial before (the first: from the start of the command) to the begin of its
first training window, so with telling Optuna, asking, composing, checking, starting and the first validation; `started`
from when the driver starts it. `warm` is the median of `asked` from the second trial on. `peak_mib`: the training
process's peak of resident memory, in the command with an empty cache, in the next one, and in the study's worker.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail, read_metrics

COMMON = [
    *("sample=none", "tracking=none", "train.epochs=null", "train.steps=1", "train.save_every_epochs=0"),
    "train.batch_size=1",  # so that images a second tell how long the window took
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    parser.add_argument("--trials", type=int, default=6)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        words = [*COMMON, f"runs={runs}", *chosen.set]
        started = time.time()
        command([*words, "name=first"])
        cold = first_window(RunDir(runs / "single" / "first")) - started
        started = time.time()
        command([*words, "name=second", "seed=1"])
        warm = first_window(RunDir(runs / "single" / "second")) - started
        space = f"network.dim=range(2,{2 + chosen.trials})"
        started = time.time()
        command([*words, "sweep.name=s", "seed=2", "search=grid", space, "launcher.slots=1"])
        trials = [RunDir(path) for path in sorted((runs / "s").glob("[0-9]*"))]
        begins = [started, *(attempt_of(run)["ended"] for run in trials[:-1])]
        asked = [first_window(run) - begin for run, begin in zip(trials, begins, strict=True)]
        since = [first_window(run) - attempt_of(run)["started"] for run in trials]
        singles = [RunDir(runs / "single" / name) for name in ("first", "second")]
        peaks = [*map(peak_mib, singles), max(map(peak_mib, trials))]
    alone = {
        "alone_empty_cache": round(cold, 2),
        "alone": round(warm, 2),
        "warm": round(statistics.median(asked[1:]), 2),
        "peak_mib": peaks,
    }
    print(json.dumps(alone | {"asked": [round(s, 2) for s in asked], "started": [round(s, 2) for s in since]}))


def command(words: list[str]) -> None:
    """Run the command line to completion."""
    subprocess.run([sys.executable, "-m", "sweeplora", *words], check=True, stdout=subprocess.DEVNULL)


def first_window(run: RunDir) -> float:
    """When the first training window began, seconds since the epoch."""
    points = MetricsTail(run.metrics).poll()
    ended = min(point.time for point in points if point.key == "loss")
    speed = next(point.value for point in points if point.key == "images_per_second")
    return ended - 1 / speed


def peak_mib(run: RunDir) -> int:
    """The most memory that the training has said it took."""
    return round(max(read_metrics(run.metrics)["memory_mib"].values()))


def attempt_of(run: RunDir) -> dict[str, float]:
    """A trial's first attempt, with the times of its start and end."""
    record = read_json(run.trial)
    assert record is not None
    attempt: dict[str, float] = record["attempts"][0]
    return attempt


if __name__ == "__main__":
    main()

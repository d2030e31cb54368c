"""Time to a trial's first optimizer step: alone, as a study's first trial, and forked from the preloaded parent.

    python benchmarks/startup.py [--set model=sdxl model.path=FOLDER ...]

Runs one training, and a study of three trials in one slot, each of one step without preview images, in a temporary
folder whose caches the first training fills. Prints one JSON object with wall-clock seconds: `alone` from the start of
the command, `trials` from when the driver starts each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail

COMMON = ["sample=none", "tracking=none", "train.epochs=null", "train.steps=1", "train.save_every_epochs=0"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    further = parser.parse_args().set
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        words = [*COMMON, f"runs={runs}", *further]
        started = time.time()
        command([*words, "name=first"])
        cold = first_step(RunDir(runs / "single" / "first")) - started
        started = time.time()
        command([*words, "name=second", "seed=1"])
        warm = first_step(RunDir(runs / "single" / "second")) - started
        command([*words, "sweep.name=s", "seed=2", "search=grid", "network.dim=choice(2,4,8)", "launcher.slots=1"])
        trials = [since_start(RunDir(path)) for path in sorted((runs / "s").glob("00*"))]
    print(json.dumps({"alone_empty_cache": round(cold, 2), "alone": round(warm, 2), "trials": trials}))


def command(words: list[str]) -> None:
    """Run the command line to completion."""
    subprocess.run([sys.executable, "-m", "sweeplora", *words], check=True, stdout=subprocess.DEVNULL)


def first_step(run: RunDir) -> float:
    """When the first optimizer step was done, seconds since the epoch."""
    steps = [point.time for point in MetricsTail(run.metrics).poll() if point.key == "loss"]
    return min(steps)


def since_start(run: RunDir) -> float:
    """Seconds from the start of a trial's attempt to its first step."""
    record = read_json(run.trial)
    assert record is not None
    started: float = record["attempts"][0]["started"]
    return round(first_step(run) - started, 2)


if __name__ == "__main__":
    main()

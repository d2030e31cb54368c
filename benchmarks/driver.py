"""The overhead of a sweep's driver: CPU seconds per trial in studies whose trials train nothing.

    PYTHONPATH=src python benchmarks/driver.py [--trials 40]

Runs two studies of different length with the tests' stand-in for a training. Their difference divided by the
difference in the number of trials is the cost of one trial; the rest is the cost of a study.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FEW = 8


def study_seconds(trials: int, model: Path, name: str) -> tuple[float, float]:
    """CPU seconds of this process, and wall-clock seconds, for one study with that many trials."""
    from sweeplora.check.configuration import check
    from sweeplora.config.compose import compose
    from sweeplora.sweep.study import run

    words = [f"model.path={model}", "tracking=none", "search=tpe", f"sweep.name={name}", f"sweep.trials={trials}"]
    words += ["network.dim=choice(2,4,8,16)", "optimizer.lr=tag(log,interval(1e-5,1e-2))"]
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        run(words, compose, check, "standin")
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended - started


def main() -> int:
    """Print the cost of a trial and of a study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="trials of the longer study")
    parser.add_argument("--steps", type=int, default=20, help="steps of a trial, each with a line of metrics")
    parser.add_argument("--seconds", type=float, default=0.05, help="pause of a step")
    arguments = parser.parse_args()
    paths = [str(ROOT / "src"), str(ROOT / "tests" / "sweep")]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["STANDIN"] = f'{{"steps": {arguments.steps}, "seconds": {arguments.seconds}}}'
    sys.path[:0] = paths
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([sys.executable, "-m", "sweeplora.models.tiny", "model"], check=True, capture_output=True)
        study_seconds(FEW, Path("model"), "imports")
        few, _ = study_seconds(FEW, Path("model"), "few")
        many, wall = study_seconds(arguments.trials, Path("model"), "many")
        os.chdir(ROOT)
    each = (many - few) / (arguments.trials - FEW)
    print(f"driver: {each:.3f} CPU seconds a trial, {few - FEW * each:.2f} a study (imports not counted)")
    print(f"{arguments.trials} trials of {arguments.steps} steps took {wall:.1f} s on the clock")
    return 0


if __name__ == "__main__":
    sys.exit(main())

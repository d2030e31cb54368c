"""Makespan of a sweep: against the same sweep of an earlier commit, and against its points as single cold commands.

    python benchmarks/makespan.py --before COMMIT [--trials 12] [--singles 3] [--rounds 3] [--set train.epochs=2 ...]

The sweep is a grid over `--space`, which is spelled out, since an earlier commit's sweep files may ask something else.
Every round runs all of them one after another, each in a folder of runs of its own, in an order that turns from round
to round. Of the points `--singles` run as commands of their own, and their mean counts for all. Prints a JSON object a
round, with seconds by the clock and of the processors (all processes), and at last the median ratios to the sweep.
`rest_share`: the share of the trials' seconds that is not in training windows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Spent(NamedTuple):
    """Seconds by the clock, and of the processors."""

    clock: float
    processors: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", help="a commit to compare with; none if left out")
    parser.add_argument("--space", nargs="*", default=["network.dim=choice(2,4,8,16)", "network.alpha=choice(1,2,4)"])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--singles", type=int, default=3, help="0: none")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=["network=locon"], help="overrides of all")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        earlier = None if chosen.before is None else checked_out(chosen.before, Path(folder, "before"))
        try:
            rounds = [round_(chosen, number, earlier, Path(folder)) for number in range(chosen.rounds)]
        finally:
            if earlier is not None:
                git("worktree", "remove", "--force", str(earlier))
    names = [name for name in ("before", "singles") if name in rounds[0]]
    for kind in Spent._fields:
        for name in names:
            ratios = [one[name][kind] / one["sweep"][kind] for one in rounds]
            print(f"{name} / sweep, {kind}: median {statistics.median(ratios):.2f} of {[round(r, 2) for r in ratios]}")


def round_(chosen: argparse.Namespace, number: int, earlier: Path | None, folder: Path) -> dict[str, Any]:
    """One measurement of each."""
    sweep = [*chosen.space, "search=grid", "sweep.name=s", f"sweep.trials={chosen.trials}", *chosen.set]
    runs = {name: folder / f"{name}-{number}" for name in ("sweep", "before", "singles")}
    found: dict[str, Any] = {}

    def now() -> None:
        found["sweep"] = timed(ROOT, runs["sweep"], sweep)._asdict()
        found["rest_share"] = rest_share(runs["sweep"] / "s")

    def before() -> None:
        if earlier is not None:
            found["before"] = timed(earlier, runs["before"], sweep)._asdict()
            found["rest_share_before"] = rest_share(runs["before"] / "s")

    def singles() -> None:
        if chosen.singles:
            spent = [timed(ROOT, runs["singles"], [*chosen.set, *point]) for point in points(chosen)]
            means = [statistics.mean(values) * chosen.trials for values in zip(*spent, strict=True)]
            found["singles"] = Spent(*means)._asdict()

    order = [now, before, singles]
    for measure in order[number % 3 :] + order[: number % 3]:
        measure()
    print(json.dumps(found), flush=True)
    return found


def points(chosen: argparse.Namespace) -> list[list[str]]:
    """Points of the grid as overrides, spread over it."""
    keys = [word.partition("=")[0] for word in chosen.space]
    choices = [word.partition("(")[2].rstrip(")").split(",") for word in chosen.space]
    grid = [[f"{key}={value}" for key, value in zip(keys, values, strict=True)] for values in product(*choices)]
    return grid[:: max(1, len(grid) // chosen.singles)][: chosen.singles]


def timed(source: Path, runs: Path, words: Sequence[str]) -> Spent:
    """Run a command of a source tree to its end."""
    before, started = processors(), time.perf_counter()
    command = [sys.executable, "-m", "sweeplora", f"runs={runs}", *words]
    subprocess.run(command, cwd=source, env=environment(source), check=True, stdout=subprocess.DEVNULL)
    return Spent(round(time.perf_counter() - started, 2), round(processors() - before, 2))


def processors() -> float:
    """Seconds of the processors that ended children, and theirs, have taken."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rest_share(study: Path) -> float:
    """The share of the trials' seconds outside of training windows, which count with an epoch's mean of images."""
    windows = total = 0.0
    for folder in sorted(study.glob("[0-9]*")):
        files = json.loads((folder / "dataset.json").read_text())["files"]
        images = sum(file["repeats"] for file in files if file["split"] != "validation")
        entries = [json.loads(line)["values"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps = [values for values in entries if "images_per_second" in values]
        a_window = images / sum(values["epoch"] == 1 for values in steps)
        windows += sum(a_window / values["images_per_second"] for values in steps)
        attempts = json.loads((folder / "trial.json").read_text())["attempts"]
        total += sum(attempt["ended"] - attempt["started"] for attempt in attempts)
    return round(1 - windows / total, 3)


def checked_out(commit: str, folder: Path) -> Path:
    """A worktree of a commit."""
    git("worktree", "add", "--detach", str(folder), commit)
    return folder


def git(*words: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def environment(source: Path) -> dict[str, str]:
    """The environment in which a source tree's package wins over the installed one."""
    return os.environ | {"PYTHONPATH": str(source / "src")}


if __name__ == "__main__":
    main()

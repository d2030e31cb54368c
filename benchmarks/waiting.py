"""What OpenMP threads that wait actively, or passively, make of a step: one training alone, and two beside each other.

    python benchmarks/waiting.py [--threads 2] [--pairs 40] [--set model=sdxl model.path=FOLDER ...]

For each policy two trainings of `--threads` threads stay loaded and take turns by a few steps: an active one alone,
a passive one alone, two active ones at once, two passive ones at once, and so on. Prints one JSON object: median and
least milliseconds a step for each, and `ratio`, passive over active, as the median over the pairs of turns. On a
machine with other work the least time is the nearest there is to an idle machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pacing import Pace

ACTIVE: dict[str, str] = {}
PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
STEPS = 2


class Worker:
    """A training in a process of its own that goes on for a few steps when it is told to."""

    def __init__(self, threads: int, policy: dict[str, str], overrides: list[str]) -> None:
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
        environment = plain | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | policy
        words = [sys.executable, __file__, "--worker", "--set", *overrides]
        self._process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def go(self) -> None:
        """Begin with the next steps."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def milliseconds(self) -> float:
        """Wait for the end of the steps; milliseconds for each."""
        assert self._process.stdout is not None
        seconds: float = json.loads(self._process.stdout.readline())["seconds"]
        return seconds / STEPS * 1000

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        train(arguments.set)
        return
    workers = {
        name: [Worker(arguments.threads, policy, arguments.set) for _ in range(2)]
        for name, policy in (("active", ACTIVE), ("passive", PASSIVE))
    }
    for pair in workers.values():
        for worker in pair:
            worker.milliseconds()  # the first steps warm up
    times: dict[str, dict[str, list[float]]] = {"alone": {}, "together": {}}
    for turn in range(arguments.pairs):
        for name in sorted(workers, reverse=bool(turn % 2)):
            times["alone"].setdefault(name, []).append(turn_of(workers[name][:1]))
            times["together"].setdefault(name, []).append(turn_of(workers[name]))
    for pair in workers.values():
        for worker in pair:
            worker.close()
    print(json.dumps({"threads": arguments.threads} | {name: summary(both) for name, both in times.items()}))


def turn_of(workers: list[Worker]) -> float:
    """Milliseconds a step, the mean over workers that go on at the same time."""
    for worker in workers:
        worker.go()
    return statistics.mean(worker.milliseconds() for worker in workers)


def summary(times: Mapping[str, list[float]]) -> dict[str, object]:
    """Median and least time of each policy, and the median of the ratios of neighbouring turns."""
    ratios = [passive / active for passive, active in zip(times["passive"], times["active"], strict=True)]
    return {
        **{name: [round(statistics.median(all_), 2), round(min(all_), 2)] for name, all_ in times.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_least": round(min(times["passive"]) / min(times["active"]), 3),
    }


def train(overrides: list[str]) -> None:
    """Train the shipped model on one batch of four random pictures until the input ends."""
    pace = Pace(STEPS, STEPS)
    from step import assemble

    from sweeplora.data.batches import plan, windows

    with tempfile.TemporaryDirectory() as folder:
        trainer, materials = assemble([*overrides, "train.probe_images=0", "data.resolution=64"], Path(folder))
        epoch = 0
        while True:
            epoch += 1
            parts = windows(plan(materials.dataset, 4, 0, epoch), 1)
            stream = materials.loader.stream(trainer.requests(parts, epoch, 10**6))
            for window in parts:
                trainer.train_window(window, epoch, stream, 1.0)
                pace.step()


if __name__ == "__main__":
    main()

"""Step time by how OpenMP threads wait for each other: one training alone, beside a busy process, and two at once.

    python benchmarks/waiting.py [--threads 2] [--pairs 40] [--set model=sdxl model.path=FOLDER ...]

Policies: OpenMP's default; what a trial is given (launch/slot.py); threads that sleep at once; a single thread. One
training of each, with `--threads` threads, stays loaded, and they take turns of `--seconds`: alone, then while another
process keeps a core busy; `alone_ratio` is the median over the turns of a policy's step time over the default's. Then
two trainings of the same policy run at once for `--together` seconds. Prints one JSON object, milliseconds per step.

2026-11-26, torch 2.13.0 (GNU OpenMP), two idle cores of a virtual machine, the shipped model, two threads, 12 turns:
default 150 ms a step, ours 158 (ratio 1.075), asleep at once 358 (2.43), one thread 169 (1.13). Two at once: default
4,590 and 9,050 ms, ours 736, asleep at once 331, one thread 164 to 170, which is what two slots of a sweep run with.
Beside one other training: default 6,600 to 19,200, ours 704 to 842, asleep at once 309 to 424, one thread 172 to 217.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeplora.launch.slot import brief_waiting

POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "ours": brief_waiting({}),
    "asleep": {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"},
    "one": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
}
PATIENCE = 4  # a turn that takes this many times its length counts as a standstill


class Worker:
    """A training in a separate process that runs for as long as it is told to."""

    def __init__(self, threads: int, policy: str, overrides: list[str]) -> None:
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
        environment = plain | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | POLICIES[policy]
        words = [sys.executable, __file__, "--worker", "--set", *overrides]
        self._process = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.answer(3600)  # loaded, and its first step done

    def go(self, seconds: float) -> None:
        """Start a turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n".encode())
        self._process.stdin.flush()

    def answer(self, seconds: float) -> float | None:
        """Milliseconds per step of its turn; None if no step finished within the given seconds."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return None
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn alone")
    parser.add_argument("--together", type=float, default=10.0, help="length of a turn of two at once")
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        train(arguments.set)
        return
    first = {policy: Worker(arguments.threads, policy, arguments.set) for policy in POLICIES}
    alone = take_turns(first, arguments.pairs, arguments.seconds)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        beside = take_turns(first, max(3, arguments.pairs // 4), arguments.seconds)
        busy.kill()
    together = {}
    for policy in POLICIES:
        pair = [first[policy], Worker(arguments.threads, policy, arguments.set)]
        for worker in pair:
            worker.go(arguments.together)
        together[policy] = [worker.answer(arguments.together * PATIENCE) for worker in pair]
        for worker in pair:
            worker.close()
    print(json.dumps({
        "threads": arguments.threads,
        "alone": {policy: round(statistics.median(taken), 1) for policy, taken in alone.items()},
        "alone_ratio": {
            policy: round(statistics.median(one / other for one, other in zip(taken, alone["default"], strict=True)), 3)
            for policy, taken in alone.items()
        },
        "beside_a_busy_process": {policy: round(statistics.median(taken), 1) for policy, taken in beside.items()},
        "together": {policy: [taken and round(taken, 1) for taken in both] for policy, both in together.items()},
    }))  # fmt: skip


def take_turns(workers: dict[str, Worker], turns: int, seconds: float) -> dict[str, list[float]]:
    """Milliseconds per step of every policy's turns; the order turns around from one to the next."""
    times: dict[str, list[float]] = {policy: [] for policy in workers}
    for turn in range(turns):
        for policy in sorted(workers, reverse=bool(turn % 2)):
            workers[policy].go(seconds)
            taken = workers[policy].answer(600)
            assert taken is not None, f"no step of {policy} ended within ten minutes"
            times[policy].append(taken)
            print(f"{policy} {taken:.1f} ms", file=sys.stderr, flush=True)
    return times


def train(overrides: list[str]) -> None:
    """Train the shipped model on four small images, in turns; each line of the input gives a turn's seconds."""
    answers, sys.stdout = sys.stdout, sys.stderr
    from step import build

    from sweeplora.data.batches import plan, windows

    small = argparse.Namespace(batch=4, resolution=64, network="locon", precision="no", model=None, set=overrides)
    with tempfile.TemporaryDirectory() as folder:
        trainer, materials = build(small, Path(folder))
        until, started, steps = 0.0, time.perf_counter(), 0
        for epoch in range(1, 1 << 20):
            parts = windows(plan(materials.dataset, 4, 0, epoch), 1)
            stream = materials.loader.stream(trainer.requests(parts, epoch, 1 << 30))
            for window in parts:
                trainer.train_window(window, epoch, stream, 1.0)
                steps += 1
                if time.perf_counter() < until:
                    continue
                print((time.perf_counter() - started) / steps * 1000, file=answers, flush=True)
                seconds = float(sys.stdin.readline())
                started, steps = time.perf_counter(), 0
                until = started + seconds


if __name__ == "__main__":
    main()

"""How busy one driver keeps its slots, and how soon it starts the first trial of a very wide space.

    PYTHONPATH=src python benchmarks/slots.py [--slots 64] [--seconds 30] [--rounds 3] [--choices 1000]

The trainings are simulated: they write a value, and end so many seconds later, up to a fifth sooner or later. In every
slot, `busy` is the time of its trainings over that and the gaps between them, in which the driver sees the end, tells
Optuna, asks, composes, checks, makes the folder and starts. The wait for the first trial and the last trials' end are
no gaps. `first_trial`: seconds from the start of a command to the start of a training, for spaces of so many choices,
a grid of ninety times as many points of which a constraint keeps half, and search=gp.
Prints one JSON object.

2026-11-26, two free cores, 64 slots, trials of 30 s, 3 rounds: busy 99.5 %, 87 ms of the driver a trial; first trial
after 2.1, 1.7 and 2.0 s (1,000 choices: a range, numbers, texts), 1.9 s (constrained grid) and 1.6 s (gp).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

from simulated import WithoutTrainings, composing_with, write_training  # noqa: E402

from sweeplora.check.configuration import check  # noqa: E402
from sweeplora.launch.slot import Slot  # noqa: E402
from sweeplora.rundir.folder import RunDir  # noqa: E402
from sweeplora.sweep.question import Compose  # noqa: E402

COMMON = ("model.path=model", "tracking=none", "pruner=none", "sweep.confirm.top=0")
SPACE = ("network.dim=choice(2,4,8,16)", "optimizer.lr=tag(log,interval(1e-5,1e-2))")
_SPREAD = 0.2


class Times(NamedTuple):
    """When a slot's training started, and when it ended."""

    started: float
    ended: float


SEEN: dict[int, list[Times]] = {}
"""Of every slot."""


class FirstTrial(Exception):
    """The first training would start now, at this time."""


class Simulated(NamedTuple):
    """A training that ends by itself."""

    ends: float
    pid: int | None = None

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return None if time.monotonic() < self.ends else 0

    def signal(self, number: signal.Signals) -> None:
        """Nothing: nobody stops it."""


@dataclass(frozen=True)
class Simulator(WithoutTrainings):
    """A launcher of simulated trainings; with `seconds` of 0 it raises FirstTrial instead."""

    seconds: float
    draws: random.Random = field(default_factory=lambda: random.Random(0))

    def start(self, run: RunDir, slot: Slot, module: str) -> Simulated:
        """Write what a training writes, and say when it ends."""
        if not self.seconds:
            raise FirstTrial(time.time())
        write_training(run)
        started = time.monotonic()
        ends = started + self.seconds * self.draws.uniform(1 - _SPREAD, 1 + _SPREAD)
        SEEN.setdefault(slot.index, []).append(Times(started, ends))
        return Simulated(ends)


def busy(slots: int, seconds: float, rounds: int) -> dict[str, float]:
    """One study of so many trials a slot."""
    from sweeplora.sweep.study import run

    words = [*COMMON, "sweep.name=many", *SPACE, f"sweep.trials={slots * rounds}"]
    before = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        run(words, _simulating(slots, seconds), check, "none")
    spent = time.process_time() - before
    gaps = [after.started - one.ended for of in SEEN.values() for one, after in pairwise(of)]
    trained = [one.ended - one.started for of in SEEN.values() for one in of[:-1]]
    return {
        "slots": slots,
        "trials": slots * rounds,
        "seconds_a_trial": seconds,
        "busy": round(sum(trained) / (sum(trained) + sum(gaps)), 5),
        "gap_median": round(statistics.median(gaps), 4),
        "gap_most": round(max(gaps), 4),
        "driver_cpu_seconds_a_trial": round(spent / (slots * rounds), 4),
    }


def first_trial(choices: int) -> dict[str, float]:
    """Seconds to the first training of spaces with very many choices, each in a process of its own."""
    numbers = ",".join(str(n) for n in range(1, choices + 1))
    names = ",".join(f"word{n}" for n in range(choices))
    side = f"range(1,{math.isqrt(90 * choices) + 1})"
    spaces = {
        "range": [f"network.alpha=range(1,{choices + 1})"],
        "choice of numbers": [f"network.dim=choice({numbers})"],
        "choice of texts": [f"data.caption_prefix=choice({names})"],
        "grid within a constraint": [
            "search=grid",
            f"network.alpha={side}",
            f"network.dim={side}",
            "sweep.constraints=['network.alpha<=network.dim']",
        ],
        "gp": ["search=gp", *SPACE],
    }
    return {name: _first(space) for name, space in spaces.items()}


def _first(space: list[str]) -> float:
    words = [sys.executable, __file__, "--only-first", *space]
    started = time.time()
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return round(float(done.stdout.split()[-1]) - started, 2)


def only_first(space: list[str]) -> None:
    """Print when the first training of a study would start."""
    from sweeplora.sweep.study import run

    words = [*COMMON, f"sweep.name=first_{os.getpid()}", "sweep.trials=2", *space]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run(words, _simulating(1, 0.0), check, "none")
    except FirstTrial as reached:
        print(reached.args[0])


def _simulating(slots: int, seconds: float) -> Compose:
    return composing_with({"_target_": "slots.Simulator", "slots": slots, "seconds": seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0, help="of a trial")
    parser.add_argument("--rounds", type=int, default=3, help="trials a slot")
    parser.add_argument("--choices", type=int, default=1000)
    parser.add_argument("--only-first", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only_first is not None:
        only_first(chosen.only_first)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([sys.executable, "-m", "sweeplora.models.tiny", "model"], check=True, capture_output=True)
        found = {"first_trial": first_trial(chosen.choices), **busy(chosen.slots, chosen.seconds, chosen.rounds)}
        os.chdir(ROOT)
    print(json.dumps(found))


if __name__ == "__main__":
    # Under its own name: the study imports the launcher from it.
    from slots import main as main_of_module

    main_of_module()

"""The overhead of a sweep's driver: CPU seconds per trial along one study whose trainings take no time.

    PYTHONPATH=src python benchmarks/driver.py [--trials 2000] [--beside 5000] [--search random] [--slots 4]

The trainings end as soon as they are started, and what they write is not counted. Between each two of the study's
trials another process does one without a driver: Optuna's bare ask, suggest and tell with the same sampler on a
database of the same kind, plus composing the proposal, `bare`; and plus checking it too, `checked`, which everyone who
proposes a configuration has to do before a GPU does it. So a busy machine disturbs both alike.

2026-11-26, a core kept free, 5,000 folders beside, trials without a driver all before the study's: 52, 52, 53, 79 and
61 ms at trials 20, 100, 400, 1,000 and 2,000, ratio to `checked` 0.62, 0.81, 1.03, 1.45 and 1.44. A collection of all
garbage took 0.4 s, and fell into the forty trials that were averaged. Since then the driver looks for garbage only in
what it makes, and on a busy machine with 3,000 beside took 45, 44, 44 and 48 ms over trials 0 to 99, 200 to 299, 400 to
499 and 600 to 699. As it is now, on two free cores with 5,000 beside: 54, 58, 65, 47 and 56 ms at trials 50, 100, 400,
1,000 and 2,000, ratio to `checked` 1.02, 1.02, 1.10, 1.11 and 1.15, to `bare` 1.43, 1.44, 1.49, 1.49 and 1.56.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]

from simulated import WithoutTrainings, composing_with, write_training  # noqa: E402

from sweeplora.check.configuration import check  # noqa: E402
from sweeplora.config.compose import compose  # noqa: E402
from sweeplora.errors import UserError  # noqa: E402
from sweeplora.launch.slot import Slot  # noqa: E402
from sweeplora.rundir.folder import RunDir  # noqa: E402
from sweeplora.rundir.record import TrialRecord, write_trial  # noqa: E402

SPACE = ("network.dim=choice(2,4,8,16)", "optimizer.lr=tag(log,interval(1e-5,1e-2))")
_AROUND = 50
"""Averaged over so many trials before and after: a collection of garbage or a table that is written falls into some."""


class Costs(NamedTuple):
    """CPU seconds of a trial: of Optuna on SQLite plus composing; and plus checking."""

    bare: float
    checked: float


class Alone:
    """Trials without a driver, in a process of their own that does one whenever it is asked."""

    def __init__(self, search: str) -> None:
        words = [sys.executable, __file__, "--alone", "--search", search]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.trial()

    def trial(self) -> Costs:
        """Have one trial done; returns when it is."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print("next", file=self._process.stdin, flush=True)
        return Costs(*map(float, self._process.stdout.readline().split()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass
class Clock:
    """CPU seconds of this process from the start of each trial to that of the next, and of as many without a driver."""

    alone: Alone | None = None
    own: list[float] = field(default_factory=list)
    others: list[Costs] = field(default_factory=list)
    _since: float | None = None

    def tick(self, run: RunDir) -> None:
        """A trial starts; what its training writes is not counted."""
        if self._since is not None:
            self.own.append(time.process_time() - self._since)
        write_training(run)
        if self.alone is not None:
            self.others.append(self.alone.trial())
        self._since = time.process_time()

    def around(self, number: int) -> tuple[float, Costs]:
        """The driver's and the others' averages over the trials around that number."""
        near = slice(max(0, number - _AROUND), number + _AROUND)
        bare, checked = zip(*self.others[near], strict=True)
        return fmean(self.own[near]), Costs(fmean(bare), fmean(checked))


CLOCK = Clock()


class Ended(NamedTuple):
    """A training that has ended."""

    pid: int | None = None

    def poll(self) -> int:
        """Its exit code."""
        return 0

    def signal(self, number: signal.Signals) -> None:
        """Nothing: it has ended."""


@dataclass(frozen=True)
class Instant(WithoutTrainings):
    """A launcher whose trainings write a value and end."""

    def start(self, run: RunDir, slot: Slot, module: str) -> Ended:
        """Write what a training writes."""
        CLOCK.tick(run)
        return Ended()


def crowd(runs: Path, count: int) -> None:
    """Make that many finished run folders, in studies of a hundred."""
    for index in range(count):
        run = RunDir(runs / f"earlier_{index // 100}" / f"{index % 100:03}-{index:012x}")
        run.path.mkdir(parents=True)
        write_trial(run, TrialRecord("complete", "earlier", index, f"{index:012x}", value=1.0))


def trials_alone(search: str) -> None:
    """Ask, compose, check and tell once for every line of standard input; prints the Costs."""
    import optuna

    from sweeplora.sweep.search.searchers import build_search
    from sweeplora.sweep.search.space import Space
    from sweeplora.sweep.storage import open_storage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    words = ("model.path=model", "tracking=none", f"search={search}")
    sampler = build_search(compose(words).config["search"], Space(), 0).sampler
    study = optuna.create_study(storage=open_storage(Path("bare.db")), study_name="bare", sampler=sampler)
    for _ in sys.stdin:
        started = time.process_time()
        trial = study.ask()
        dim = trial.suggest_categorical("network.dim", [2, 4, 8, 16])
        lr = trial.suggest_float("optimizer.lr", 1e-5, 1e-2, log=True)
        composed = compose(words, (f"network.dim={dim}", f"optimizer.lr={lr}"))
        assert composed.yaml, "composing ends with the text of the trial's config.yaml"
        before = time.process_time()
        check(composed)
        checking = time.process_time() - before
        study.tell(trial, trial.number % 97 / 97)
        spent = time.process_time() - started
        print(spent - checking, spent, flush=True)


def driven(arguments: argparse.Namespace, numbers: list[int]) -> None:
    """Run a study; every trial of it is followed by one without a driver."""
    from sweeplora.sweep.study import run

    words = ["model.path=model", "tracking=none", f"search={arguments.search}", "sweep.name=many", *SPACE]
    words += [f"sweep.trials={max(numbers) + _AROUND + 1}"]
    with contextlib.redirect_stdout(io.StringIO()):
        launcher = {"_target_": "driver.Instant", "slots": arguments.slots}
        run(words, composing_with(launcher), check, "none")


def main() -> int:
    """Print the cost of a trial at several places of one study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="trials of the study")
    parser.add_argument("--beside", type=int, default=5000, help="run folders of earlier studies")
    parser.add_argument("--search", default="random")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        trials_alone(arguments.search)
        return 0
    numbers = [n for n in (50, 100, 400, 1000, 2000) if n <= arguments.trials]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([sys.executable, "-m", "sweeplora.models.tiny", "model"], check=True, capture_output=True)
        crowd(Path("runs"), arguments.beside)
        CLOCK.alone = Alone(arguments.search)
        try:
            driven(arguments, numbers)
        except UserError as error:
            print(error)
            return 2
        finally:
            CLOCK.alone.close()
            os.chdir(ROOT)
    for number in numbers:
        own, others = CLOCK.around(number)
        told = [f"{name} {1000 * of:.0f} ms, ratio {own / of:.2f}" for name, of in others._asdict().items()]
        print(f"trial {number}: {1000 * own:.0f} ms; {'; '.join(told)}", flush=True)
    return 0


if __name__ == "__main__":
    # Under its own name: the study imports the launcher from it.
    from driver import main as main_of_module

    sys.exit(main_of_module())

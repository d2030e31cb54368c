"""Kills the processes of a real study at random moments, and reads what two studies have in common."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from sweeplora.content import sha256
from sweeplora.launch.process import descendants
from sweeplora.rundir.databases import sqlite_uri
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import read_trial, trial_folders
from tests.record.mlflow_store import Contents
from tests.sweep.commands import ROOT, living_in, until

KINDS = ("driver", "worker", "mirror", "training")
MEASURED = ("images_per_second", "memory_mib")
PATIENCE_SECONDS = 900.0
_GOES_ON = re.compile(rb"^goes on from step (\d+) of", re.M)
_BEGINS = re.compile(rb"^\d+ images in ", re.M)


class Loss(NamedTuple):
    """A training that a kill ended, or could have: the last step that it logged, and its log's size at that moment."""

    run: RunDir
    reached: int
    log_bytes: int

    def steps(self) -> int:
        """How many steps the next attempt trained again."""
        later = self.run.log.read_bytes()[self.log_bytes :]
        begun = [match.start() for match in _BEGINS.finditer(later)]
        if not begun:  # it was killed when all was done
            return 0
        resumed = _GOES_ON.search(later)
        if resumed is None or (len(begun) > 1 and resumed.start() > begun[1]):
            return self.reached
        return self.reached - int(resumed[1])


class Command:
    """The command of a study, in a folder of its own."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.folder = folder
        self.words = words
        self.losses: list[Loss] = []
        folder.mkdir()

    def start(self, study: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        with (self.folder / "command.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sweeplora", f"runs={self.folder}/runs", f"sweep.name={study}", *self.words],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        assert process.wait(PATIENCE_SECONDS) == 0, (self.folder / "command.log").read_text()[-3000:]

    def kill(self, count: int, seed: int, lines_a_kill: int) -> list[str]:
        """Run studies while killing `count` of their processes, all kinds in turn; the studies' names.

        Between two kills a study logs a random number of lines, `lines_a_kill` on average, so that a slow machine is
        killed as late in its trials as a fast one; then comes a random moment.
        """
        draw = random.Random(seed)
        studies = ["s"]
        process = self.start("s")
        for number in range(count):
            if number % len(KINDS) == 0:
                order = draw.sample(KINDS, len(KINDS))
            kind = order[number % len(KINDS)]
            lines = draw.randint(0, 2 * lines_a_kill)
            while (victim := self._victim(process, studies[-1], kind, (lines, draw.uniform(0.0, 1.0)))) is None:
                self.finish(process)  # there is nothing left to kill: the next study
                studies.append(f"s{len(studies) + 1}")
                process = self.start(studies[-1])
            print(f"seed {seed}, kill {number + 1}: {kind} {victim} of {studies[-1]}", flush=True)
            self._kill(victim, [victim] if kind == "training" else _processes(process.pid)["training"])
            if kind == "driver":
                process.wait()
                time.sleep(draw.uniform(0.0, 1.0))
                process = self.start(studies[-1])
        self.finish(process)
        return studies

    def _victim(self, process: subprocess.Popen[bytes], study: str, kind: str, moment: tuple[int, float]) -> int | None:
        """A living process of that kind, so many lines and seconds later; None if the study ends first."""
        lines, seconds = moment
        goal = self._lines(study) + lines
        while process.poll() is None:
            if self._lines(study) >= goal and _processes(process.pid)[kind]:
                time.sleep(seconds)
                if process.poll() is None and (found := _processes(process.pid)[kind]):
                    return found[int(1000 * seconds) % len(found)]
            time.sleep(0.05)
        return None

    def _lines(self, study: str) -> int:
        """How many lines the trainings of a study have logged."""
        files = (self.folder / "runs" / study).glob("*/metrics.jsonl")
        return sum(file.read_bytes().count(b"\n") for file in files)

    def _kill(self, victim: int, trainings: Sequence[int]) -> None:
        """Kill a process, and note how far these trainings are."""
        runs = [run for pid in trainings if (run := _run_of(pid, self.folder / "runs")) is not None]
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return
        for run in runs:
            reached = max(read_metrics(run.metrics).get("loss", {0: 0.0}))
            self.losses.append(Loss(run, reached, run.log.stat().st_size))

    def leaves_nothing(self) -> None:
        """Assert that no process, no half-written file and no state is left."""
        until(lambda: not living_in(self.folder))
        left = [*(self.folder / "runs").rglob(".*.tmp"), *(self.folder / "runs").rglob("checkpoints")]
        assert not left, left


def _processes(driver: int) -> dict[str, list[int]]:
    """Process ids by kind. A worker is a child of the driver that is not the mirror; what it starts is a training."""
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    found["driver"] = [driver]
    for pid in descendants(driver):
        words, parent = _words(pid), _parent(pid)
        if b"sweeplora.record" in words:
            found["mirror"].append(pid)
        elif b"sweeplora.launch.preload" in words and parent == driver:
            found["worker"].append(pid)
        elif b"sweeplora.launch.preload" in words or b"sweeplora.launch.child" in words:
            found["training"].append(pid)
    return found


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _run_of(pid: int, runs: Path) -> RunDir | None:
    """The folder that a training writes its log to."""
    try:
        log = Path(f"/proc/{pid}/fd/1").readlink()
    except OSError:
        return None
    return RunDir(log.parent) if log.name == "log.txt" and log.is_relative_to(runs) else None


def outcome(folder: Path, study: str) -> dict[str, Any]:
    """Everything that two studies of one question have in common, by name, whatever was killed on the way."""
    runs = folder / "runs"
    told: dict[str, Any] = {"optuna": _optuna(runs, study)}
    for path in trial_folders(runs / study):
        record = read_trial(RunDir(path))
        assert record is not None
        series = read_metrics(RunDir(path).metrics)
        told[path.name] = {
            "record": (record.number, record.verdict, record.value, dict(record.params), record.steps),
            "files": {
                str(file.relative_to(path)): sha256(file)
                for name in ("weights", "samples")
                for file in sorted((path / name).iterdir())
            },
            "metrics": {key: values for key, values in series.items() if key not in MEASURED},
            "measured": {key: list(series[key]) for key in MEASURED},
        }
    return told


def recorded(folder: Path, study: str) -> dict[str, Any]:
    """The same of the study's MLflow runs: state, parameters, every point of every metric, weights files' contents."""
    store = Contents(sqlite_uri(folder / "runs" / "mlflow.db"))
    told = {}
    for name, run in store.runs().items():
        if name.partition("/")[0] == study:
            points = {key: store.history(run, key) for key in run.data.metrics}
            for key, history in points.items():
                assert len({step for step, _ in history}) == len(history), f"{key} of {name} has a step twice"
            measured = {*MEASURED, *(key for key in points if key.startswith("system/"))}
            values = {key: history for key, history in points.items() if key not in measured}
            # The best so far depends on which trial ended first: only its last value and its length are the same.
            values |= {key: history[-1:] for key, history in points.items() if key.startswith("best/")}
            steps = {key: [step for step, _ in points[key]] for key in points.keys() & set(MEASURED)}
            weights = {file: store.sha256(run, file) for file in store.files(run) if file.startswith("weights/")}
            params = {key: value for key, value in run.data.params.items() if not _is_about_place(key)}
            told[name.partition("/")[2]] = (run.info.status, params, values, steps, weights)
    return told


def _is_about_place(key: str) -> bool:
    return key in ("runs", "reuse") or key.startswith(("sweep.", "tracking.", "launcher."))


def _optuna(runs: Path, study: str) -> list[Any]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    loaded = optuna.load_study(study_name=study, storage=sqlite_uri(runs / "optuna.db"))
    return [(trial.number, trial.state.name, trial.values, trial.params) for trial in loaded.get_trials()]

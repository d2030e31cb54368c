"""Supervision of one run folder: start its training, follow it, stop it, and determine how it ended."""

from __future__ import annotations

import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import yaml

from sweeplora.launch.launcher import Launcher, Started
from sweeplora.launch.process import end_all, is_worker, oom_kills, start_ticks, trainings_of
from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.disk import full_line, is_full, size_of
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.metrics import MetricsTail, Point
from sweeplora.rundir.record import (
    Attempt,
    DamagedRecord,
    Result,
    StudyRecord,
    TrialOutcome,
    TrialRecord,
    Verdict,
    read_result,
    trial_folders,
    write_trial,
)
from sweeplora.rundir.yaml_text import read_yaml
from sweeplora.sweep.outcomes import classify, fruitless, out_of_memory

_LOCK_SECONDS = 5.0
_MOST_FRUITLESS = 10


class Place(NamedTuple):
    """Where the attempts of a trial run, and the module that trains there."""

    launcher: Launcher
    slot: Slot
    module: str


@dataclass
class Progress:
    """A trial's progress for the screen: the last step, the speed, and the last value of every key."""

    step: int = 0
    first: tuple[int, float] | None = None
    seconds_a_step: float | None = None

    def __post_init__(self) -> None:
        self.values: dict[str, float] = {}

    def take(self, point: Point) -> None:
        """Record one point."""
        self.values[point.key] = point.value
        if point.step < self.step or self.first is None:
            self.first = (point.step, point.time)
        elif point.step > self.first[0]:
            self.seconds_a_step = (point.time - self.first[1]) / (point.step - self.first[0])
        self.step = point.step


class Supervision:
    """A run folder with its training process, over all attempts; holds the folder's lock while it lives.

    `record` is the content of trial.json, kept up to date in memory and on disk.
    """

    def __init__(self, run: RunDir, record: TrialRecord, place: Place) -> None:
        self.run = run
        self.record = record
        self.place = place
        self.progress = Progress()
        self._tail = MetricsTail(run.metrics)
        self._stopped: Verdict | None = None
        self._deadline = 0.0
        self._lock: BinaryIO = _hold_soon(run.lock)
        self._begin()

    @property
    def stopping(self) -> bool:
        """Whether the training was asked to stop."""
        return self._stopped is not None

    def poll(self) -> tuple[list[Point], TrialOutcome | None]:
        """New points, and the outcome once it is final; a failed attempt may be retried first."""
        points = self._tail.poll()
        for point in points:
            self.progress.take(point)
        self._note_pid()
        code = self._process.poll()
        if code is None:
            if self._stopped and time.monotonic() > self._deadline:
                self._process.signal(signal.SIGKILL)
            return points, None
        points += self._last_points()
        outcome = classify(result_of(self.run), code, self._stopped)
        if not outcome.final and code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            outcome = TrialOutcome("failed", "out of memory: the kernel ended it (SIGKILL)", final=False)
        if outcome.verdict == "failed" and is_full(self.run.path, outcome.message):
            needed = max(map(size_of, [self.run.path, *trial_folders(self.run.path.parent)]))
            outcome = TrialOutcome("interrupted", full_line(self.run.path, needed))
        outcome = self._halved(outcome)
        self._close_attempt(code, outcome)
        if not outcome.final and self._may_try_again(outcome):
            self._begin()
            return points, None
        self._lock.close()
        return points, outcome if outcome.final or outcome.verdict == "failed" else self._given_up(outcome)

    def _halved(self, outcome: TrialOutcome) -> TrialOutcome:
        """The outcome, to be tried again with batches in twice as many pieces if memory ran out and that may help."""
        if not (self.place.launcher.rules.halve and outcome.verdict == "failed" and out_of_memory(outcome.message)):
            return outcome
        pieces, batch_size = 2 * self.record.pieces, _batch_size(self.run)
        if pieces >= 2 * batch_size:
            return outcome._replace(message=f"{outcome.message}; even at one image at a time", final=True)
        self.record.pieces = pieces
        told = f"tried again with micro-batches of {math.ceil(batch_size / pieces)} of {batch_size} images"
        return TrialOutcome("failed", f"{outcome.message}; {told}, {pieces} times the accumulation", final=False)

    def stop(self, verdict: Literal["pruned", "interrupted"]) -> None:
        """Ask the training to write its state and stop; it is killed after the launcher's grace period.

        The state stays in the folder until `rundir.state.end_state`: another supervision of it goes on from there, in
        any slot. So a trial is only told as pruned, and its state removed, once it shall not go on.
        """
        if self._stopped is None:
            self._stopped = verdict
            self._deadline = time.monotonic() + self.place.launcher.rules.grace_seconds
            self._process.signal(signal.SIGTERM)

    def ask_for_state(self) -> None:
        """Ask the training to write its state after the current step, and to go on."""
        if self._process.pid is not None and not self.stopping:
            self._process.signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Kill the training now."""
        self._stopped = self._stopped or "interrupted"
        self._deadline = 0.0
        self._process.signal(signal.SIGKILL)

    def abandon(self, reason: str) -> None:
        """Close the record after the training was terminated from elsewhere."""
        self.record.end(TrialOutcome("interrupted", reason))
        self._close_attempt(-signal.SIGTERM, self.record.outcome)
        self._lock.close()

    def _begin(self) -> None:
        self.run.result.unlink(missing_ok=True)
        self._oom_kills = oom_kills()
        write_trial(self.run, self.record)  # the training reads in it its experiment and its pieces
        self._process: Started = self.place.launcher.start(self.run, self.place.slot, self.place.module)
        self.record.attempts.append(Attempt(now(), self.place.slot.index))
        if self.record.threads is None:
            self.record.processes, self.record.threads = self.place.slot.shape
        self.record.end(TrialOutcome("running"))
        self._note_pid()
        write_trial(self.run, self.record)

    def _note_pid(self) -> None:
        attempt = self.record.attempts[-1]
        if attempt.pid is None and self._process.pid is not None:
            attempt.pid, attempt.start_ticks = self._process.pid, start_ticks(self._process.pid)
            write_trial(self.run, self.record)

    def _close_attempt(self, code: int, outcome: TrialOutcome) -> None:
        attempt = self.record.attempts[-1]
        attempt.ended, attempt.exit_code = now(), code
        attempt.verdict, attempt.message = outcome.verdict, outcome.message
        attempt.outside = outcome.verdict == "interrupted" and not outcome.final
        attempt.reached = self.progress.step
        write_trial(self.run, self.record)

    def _may_try_again(self, outcome: TrialOutcome) -> bool:
        """Whether to retry: a failure up to the launcher's limit, an end from outside while attempts make progress."""
        rules, attempts = self.place.launcher.rules, self.record.attempts
        if outcome.verdict != "failed" and not rules.outside_counts:
            return fruitless(attempts) < _MOST_FRUITLESS
        if rules.halve and out_of_memory(outcome.message):
            return True  # each attempt has smaller pieces than the one before
        counted = [one for one in attempts if one.verdict == "failed" or (one.outside and rules.outside_counts)]
        return len(counted) < rules.attempts

    def _given_up(self, outcome: TrialOutcome) -> TrialOutcome:
        ends = sum(attempt.outside for attempt in self.record.attempts)
        furthest = max(attempt.reached for attempt in self.record.attempts)
        return TrialOutcome("failed", f"{outcome.message}, {ends} times in all; it never came past step {furthest}")

    def _last_points(self) -> list[Point]:
        points = self._tail.poll()
        for point in points:
            self.progress.take(point)
        return points


def _batch_size(run: RunDir) -> int:
    """The batch size of a run; 1 where its configuration does not say."""
    try:
        return int(read_yaml(run.config.read_text())["train"]["batch_size"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return 1


def shape_of(record: TrialRecord | StudyRecord | None) -> Shape | None:
    """The number of processes and threads that a record's trainings started with, None before the first."""
    if record is None or record.processes is None or record.threads is None:
        return None
    return Shape(record.processes, record.threads)


def end_leftover(run: RunDir, record: TrialRecord, grace_seconds: float) -> None:
    """Terminate trainings that a dead driver left running in the folder: SIGTERM, then SIGKILL.

    An attempt whose end nobody saw is closed in the record, at the time of the training's last write.
    """
    end_all([*_recorded(record), *trainings_of(run.path)], grace_seconds)
    for attempt in record.attempts:
        if attempt.ended is None:
            attempt.ended = max(attempt.started, run.last_written() or 0.0)
            attempt.verdict = "interrupted"


def result_of(run: RunDir) -> Result | None:
    """The training's own report of how it ended; a damaged one counts as none."""
    try:
        return read_result(run)
    except DamagedRecord:
        return None


def now() -> float:
    """Seconds since the epoch, rounded to milliseconds."""
    return round(time.time(), 3)


def _recorded(record: TrialRecord) -> list[int]:
    """The attempts' processes that live; a worker lives on after an attempt that ended, and may train another trial."""
    return [
        attempt.pid
        for attempt in record.attempts
        if attempt.pid is not None
        and attempt.start_ticks is not None
        and start_ticks(attempt.pid) == attempt.start_ticks
        and (attempt.ended is None or not is_worker(attempt.pid))
    ]


def _hold_soon(lock: Path) -> BinaryIO:
    """Take the folder's lock; retry, since a training that checks the lock holds it for an instant."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return hold(lock)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)

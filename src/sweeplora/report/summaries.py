"""What studies and runs there are, for lists: read without checks of their types, since there may be thousands."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeplora.report.objectives import PREFERENCE
from sweeplora.rundir.folder import SINGLE, RunDir
from sweeplora.rundir.lock import is_held
from sweeplora.rundir.places import run_folders
from sweeplora.rundir.plain_record import read_plain_study, read_plain_trial
from sweeplora.rundir.record import STUDY, objective_names

DAMAGED = "damaged"


@dataclass(frozen=True)
class RunSummary:
    """One run in a list. `state` is its verdict; times in seconds since the epoch, `size` in bytes."""

    name: str
    folder: Path
    state: str
    number: int | None
    signature: str | None
    params: Mapping[str, Any]
    values: tuple[float, ...]
    started: float | None
    seconds: float
    size: int
    message: str
    replicate: int | None = None
    """Which repetition with another seed it is; None for a trial itself and for a single run."""


@dataclass(frozen=True)
class StudySummary:
    """One study in a list, its runs by number: the trials, and their repetitions with other seeds."""

    name: str
    folder: Path
    state: str
    objectives: tuple[str, ...]
    planned: int | None
    started: float | None
    size: int
    runs: tuple[RunSummary, ...]

    @property
    def trials(self) -> tuple[RunSummary, ...]:
        """The runs that repeat no other one."""
        return tuple(run for run in self.runs if run.replicate is None)

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of trials in it."""
        return dict(Counter(run.state for run in self.trials))

    @property
    def best(self) -> RunSummary | None:
        """The complete trial with the least values, the first objective first."""
        complete = [run for run in self.trials if run.state == "complete" and run.values]
        return min(complete, key=lambda run: run.values, default=None)


def study_summary(folder: Path, measure: bool = True) -> StudySummary:
    """A study with all of its trials; `measure`: add up the sizes of their files, which takes most of the time."""
    record = read_plain_study(folder / STUDY) or {}
    runs = tuple(run_summary(run, measure) for run in run_folders(folder))
    objectives = objective_names(record.get("objective") or "val/loss")
    if objectives == (PREFERENCE,):
        runs = _preferred(folder, runs)
    state = str(record.get("state") or DAMAGED)
    if state == "running" and not _is_held(folder / "driver.lock"):
        state = "interrupted"
    return StudySummary(
        name=folder.name,
        folder=folder,
        state=state,
        objectives=objectives,
        planned=record.get("trials"),
        started=record.get("started"),
        size=_size_of_study(folder, runs) if measure else 0,
        runs=tuple(sorted(runs, key=lambda run: (run.number is None, run.number, run.replicate or 0))),
    )


def run_summary(folder: Path, measure: bool = True) -> RunSummary:
    """A run, from its `trial.json`; a run that says `running` and has no living supervisor was interrupted."""
    record = read_plain_trial(f"{folder}/trial.json") or {}
    attempts = record.get("attempts") or []
    state = str(record.get("verdict") or DAMAGED)
    if state == "running" and not _is_held(RunDir(folder).lock):
        state = "interrupted"
    value = record.get("value")
    values = value if isinstance(value, list) else [] if value is None else [value]
    return RunSummary(
        name=f"{folder.parent.name}/{folder.name}",
        folder=folder,
        state=state,
        number=record.get("number"),
        signature=record.get("signature"),
        params=record.get("params") or {},
        values=tuple(one for one in values if isinstance(one, int | float) and math.isfinite(one)),
        started=attempts[0].get("started") if attempts else None,
        seconds=sum(_seconds(attempt) for attempt in attempts),
        size=size_on_disk(folder) if measure else 0,
        message=str(record.get("message") or ""),
        replicate=record.get("replicate"),
    )


def _preferred(folder: Path, runs: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """The runs with the values of a person's comparisons so far; none for those that were in no comparison."""
    from sweeplora.report.preferences import read_preferences  # it imports NumPy, which no other list needs

    complete = {run.folder.name: run.number for run in runs if run.state == "complete" and run.number is not None}
    found = read_preferences(folder, complete)
    shares = {} if found is None else {number: one.share for number, one in found.of.items()}
    return tuple(
        replace(run, values=(1 - shares[run.number],) if run.number is not None and run.number in shares else ())
        for run in runs
    )


def _size_of_study(folder: Path, runs: Sequence[RunSummary]) -> int:
    return sum(run.size for run in runs) + size_on_disk(folder, frozenset(run.folder.name for run in runs))


def size_on_disk(folder: Path | str, skipped: frozenset[str] = frozenset()) -> int:
    """Bytes of all files below a folder, without the named entries directly in it; links are not followed."""
    total = 0
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return 0
    for entry in entries:
        if entry.name in skipped:
            continue
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            total += size_on_disk(entry.path) if is_folder else entry.stat(follow_symlinks=False).st_size
        except OSError:  # removed meanwhile
            continue
    return total


def display_name(run: RunSummary) -> str:
    """A run's name as it can be typed: `study/3`, a repetition's `study/3.1`, or a single run's own name."""
    if run.folder.parent.name == SINGLE or run.number is None:
        return run.folder.name
    number = f"{run.number}" if run.replicate is None else f"{run.number}.{run.replicate}"
    return f"{run.folder.parent.name}/{number}"


def shown_size(size: int) -> str:
    """Bytes in the largest unit that leaves at least one of it: `12.3 MiB`."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def shown_time(seconds: float | None) -> str:
    """A moment in local time, `2026-11-25 14:02`."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _seconds(attempt: Mapping[str, Any]) -> float:
    ended, started = attempt.get("ended"), attempt.get("started")
    return ended - started if isinstance(ended, int | float) and isinstance(started, int | float) else 0.0


def _is_held(lock: Path) -> bool:
    return lock.exists() and is_held(lock)

"""What runs at this moment: studies and single runs with a living driver, from their folders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sweeplora.report.summaries import RunSummary, StudySummary, columns, display_name, shown_time
from sweeplora.report.terminal_board import narrowed
from sweeplora.report.words import bare_values, clock, named_values, near, number
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail, Point
from sweeplora.rundir.plain_record import read_plain_trial

_READ_BYTES = 1 << 20
"""Of the end of metrics.jsonl: several thousand steps, and so the last validation of almost any training."""

_MOST_NAMED = 30
_FIRST_TO_GO = ("process", "slot", "loss", "of base", "since", "left")
"""Columns that a narrow terminal goes without, in this order."""


@dataclass(frozen=True)
class Progress:
    """How far a running training is. Times are seconds since the epoch, or seconds; `slot` is where it runs."""

    name: str
    folder: Path
    params: Mapping[str, Any]
    attempt: int
    slot: int | None
    pid: int | None
    since: float | None
    step: int | None
    steps: int | None
    last: float | None
    """When it last logged a step."""
    left: float | None
    """Until its last step, at the speed of the steps read."""
    values: Mapping[str, float]
    """The last value of every metric."""


def progress_of(run: RunSummary) -> Progress:
    """The progress of a run, from its record and the end of its metrics."""
    record = read_plain_trial(RunDir(run.folder).trial) or {}
    attempts = record.get("attempts") or []
    attempt = attempts[-1] if attempts and isinstance(attempts[-1], Mapping) else {}
    points = _last_points(RunDir(run.folder).metrics)
    step = max((point.step for point in points), default=None)
    steps = record.get("steps") if isinstance(record.get("steps"), int) else None
    since = attempt.get("started")
    return Progress(
        name=display_name(run),
        folder=run.folder,
        params=run.params,
        attempt=len(attempts),
        slot=attempt.get("slot"),
        pid=attempt.get("pid"),
        since=since,
        step=step,
        steps=steps,
        last=max((point.time for point in points), default=None),
        left=_left(points, steps, since),
        values={point.key: point.value for point in points},
    )


def study_left(study: StudySummary, running: Sequence[Progress]) -> float | None:
    """Estimated seconds until a running study ends: the trials to come at the mean duration, over what runs at once."""
    known = [run.seconds for run in study.runs if run.state == "complete" and run.seconds > 0]
    to_come = max(0, (study.planned or 0) - len(study.trials))
    lefts = [one.left for one in running if one.left is not None]
    if not study.planned or not running or (to_come and not known) or len(lefts) < len(running):
        return None
    return (sum(lefts) + to_come * (fmean(known) if known else 0.0)) / len(running)


def study_facts(study: StudySummary, now: float) -> dict[str, Any]:
    """A study as JSON data, the running trials with their progress; `now`: seconds since the epoch."""
    running = [progress_of(run) for run in study.runs if run.state == "running"]
    best = study.best
    return {
        "study": study.name,
        "folder": str(study.folder),
        "state": study.state,
        "started": study.started,
        "seconds": None if study.started is None or study.state != "running" else max(0.0, now - study.started),
        "trials": study.counts,
        "planned": study.planned,
        "objectives": list(study.objectives),
        "best": None
        if best is None
        else {"trial": best.number, "values": best.values, "swept": dict(best.params), "folder": str(best.folder)},
        "left": study_left(study, running) if study.state == "running" else None,
        "failed": {run.number: run.message for run in study.runs if run.state in ("failed", "diverged")},
        "running": [_told(one) for one in running],
    }


def run_facts(run: RunSummary) -> dict[str, Any]:
    """A single run as JSON data."""
    return {"run": display_name(run), "state": run.state, "message": run.message, **_told(progress_of(run))}


def shown_study(facts: Mapping[str, Any], now: float, width: int | None = None) -> list[str]:
    """A study's facts as lines for a terminal of `width` letters, None for any."""
    counts = ", ".join(f"{count} {state}" for state, count in facts["trials"].items()) or "none yet"
    planned = f" of {facts['planned']}" if facts["planned"] else ""
    since = f" since {shown_time(facts['started'])}" if facts["state"] == "running" else ""
    spent = f" ({clock(facts['seconds'])})" if facts["seconds"] is not None else ""
    told = [f"{facts['study']}  {facts['state']}{since}{spent}", f"trials  {counts}{planned}"]
    best = facts["best"]
    if best is not None:
        values = " ".join(map(number, best["values"]))
        told.append(f"best    {values}, trial {best['trial']}: {named_values(best['swept'])}")
    if facts["left"] is not None:
        told.append(f"left    about {clock(facts['left'])}")
    told += [f"failed  trial {number_}: {message}" for number_, message in list(facts["failed"].items())[:_MOST_NAMED]]
    told.append(f"folder  {near(Path(facts['folder']))}")
    return [*told, *_table(facts["running"], now, width)]


def shown_run(facts: Mapping[str, Any], now: float, width: int | None = None) -> list[str]:
    """A single run's facts as lines for a terminal of `width` letters, None for any."""
    reason = f": {facts['message']}" if facts["message"] else ""
    head = f"{facts['run']}  {facts['state']}{reason}"
    return [head, f"folder  {near(Path(facts['folder']))}", *_table([facts], now, width)]


def _table(running: Sequence[Mapping[str, Any]], now: float, width: int | None) -> list[str]:
    """The running trainings in columns; values are headed by their keys where all have the same."""
    if not running:
        return []
    keys = {tuple(one["swept"]) for one in running}
    shared = keys.pop() if len(keys) == 1 else ()
    values = [bare_values(one["swept"]) if shared else named_values(one["swept"]) for one in running]
    head = " · ".join(key.rpartition(".")[2] for key in shared) or "values"
    rows = [["trial", head, "step", "loss", "val/loss", "of base", "since", "left", "slot", "process"]]
    for one, value in zip(running, values, strict=True):
        rows.append([one["name"].rpartition("/")[2], value, *_cells(one, now)])
    kept = [place for place in range(len(rows[0])) if any(row[place] not in ("", "-") for row in rows[1:])]
    return ["", *columns(narrowed([[row[place] for place in kept] for row in rows], width, _FIRST_TO_GO))]


def _cells(one: Mapping[str, Any], now: float) -> list[str]:
    values = one["values"]
    step = "-" if one["step"] is None else str(one["step"])
    relative = values.get("val/relative")
    return [
        f"{step}/{one['steps']}" if one["steps"] else step,
        number(values.get("loss")),
        number(values.get("val/loss")),
        "-" if relative is None else f"{100 * relative:.1f} %",
        "-" if one["since"] is None else clock(max(0.0, now - one["since"])),
        clock(one["left"]),
        number(one["slot"]),
        number(one["pid"]),
    ]


def _told(one: Progress) -> dict[str, Any]:
    told = {**asdict(one), "folder": str(one.folder), "swept": dict(one.params)}
    del told["params"]
    return told


def _last_points(file: Path) -> list[Point]:
    try:
        size = file.stat().st_size
    except OSError:
        return []
    return MetricsTail(file, max(0, size - _READ_BYTES)).poll()


def _left(points: Sequence[Point], steps: int | None, since: float | None) -> float | None:
    """Seconds until the last step, at the speed of the latest attempt's steps."""
    times = {point.step: point.time for point in points if since is None or point.time >= since}
    if steps is None or len(times) < 2:
        return None
    first, last = min(times), max(times)
    return max(0, steps - last) * (times[last] - times[first]) / (last - first)

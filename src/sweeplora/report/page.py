"""All about one run or one study on a page: facts as JSON data, and the same drawn for a terminal of 80 columns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeplora.errors import UserError
from sweeplora.report.curve import curve
from sweeplora.report.leaderboard import read_leaderboard
from sweeplora.report.limits import limit_of_courses
from sweeplora.report.preference_words import preference_lines
from sweeplora.report.siblings import differences, rank_of, shown_differences
from sweeplora.report.summaries import (
    display_name,
    run_summary,
    shown_size,
    shown_time,
    size_on_disk,
    study_summary,
)
from sweeplora.report.terminal_board import lines, terminal_width
from sweeplora.report.words import clock, near, number
from sweeplora.rundir.files import read_sealed
from sweeplora.rundir.folder import MIRROR, RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.places import is_study
from sweeplora.rundir.plain_record import read_plain_trial

_USUAL = ("val/loss", "loss")
_PARTS = ("weights", "samples", "checkpoints")


def run_page(folder: Path, metric: str | None) -> dict[str, Any]:
    """A run's facts. Raises UserError if it has no such metric."""
    run, record = run_summary(folder), read_plain_trial(RunDir(folder).trial) or {}
    series = read_metrics(RunDir(folder).metrics)
    drawn = _metric(series, metric)
    study = study_summary(folder.parent) if is_study(folder.parent) else None
    told: dict[str, Any] = {
        "run": display_name(run),
        "folder": str(folder),
        "state": run.state,
        "message": run.message,
        "signature": run.signature,
        "started": run.started,
        "seconds": run.seconds,
        "attempts": len(record.get("attempts") or []),
        "processes": record.get("processes"),
        "threads": record.get("threads"),
        "found": record.get("found"),
        "study": study.name if study is not None else None,
        "swept": dict(run.params),
        "values": list(run.values),
        "overrides": record.get("overrides"),
        "mlflow_run": (read_sealed(folder / MIRROR) or {}).get("run_id"),
        "size": run.size,
        "sizes": {part: size_on_disk(folder / part) for part in _PARTS},
        "weights": _weights(folder),
        "last": {key: list(steps.values())[-1] for key, steps in sorted(series.items())},
        "metric": drawn,
        "points": series.get(drawn, {}),
    }
    if study is not None:
        told["rank"] = rank_of(study, run)
        told["differs"] = shown_differences(differences(study, run))
    return told


def study_page(folder: Path, metric: str | None) -> dict[str, Any]:
    """A study's facts, and the course of its best trial."""
    study = study_summary(folder)
    best = study.best
    series = read_metrics(RunDir(best.folder).metrics) if best is not None else {}
    drawn = _metric(series, metric)
    return {
        "study": study.name,
        "folder": str(folder),
        "state": study.state,
        "started": study.started,
        "objectives": list(study.objectives),
        "trials": study.counts,
        "planned": study.planned,
        "size": study.size,
        "sizes": {part: sum(size_on_disk(run.folder / part) for run in study.runs) for part in _PARTS},
        "best": None if best is None else {"trial": best.number, "values": best.values, "swept": dict(best.params)},
        "metric": drawn,
        "points": series.get(drawn, {}),
    }


def shown_run(page: Mapping[str, Any]) -> list[str]:
    """A run's page for a terminal."""
    rows = [
        ("run", page["run"]),
        ("folder", str(near(Path(page["folder"])))),
        ("state", f"{page['state']}{': ' + page['message'] if page['message'] else ''}"),
        ("started", f"{shown_time(page['started'])}, {clock(page['seconds'])} in {_attempts(page['attempts'])}"),
        ("signature", page["signature"] or "-"),
        ("swept", " ".join(f"{key}={number(value, 'null')}" for key, value in page["swept"].items())),
        ("taken from", page["found"] or ""),
        ("rank", "{} of {}".format(*page["rank"]) if page.get("rank") else ""),
        *(("differs", line) for line in page.get("differs", [])),
        ("MLflow run", page["mlflow_run"] or "not recorded"),
        ("size", _sizes(page)),
        *(("weights", f"{name}  {shown_size(size)}") for name, size in page["weights"].items()),
    ]
    return [*_table(rows), "", *_drawing(page)]


def shown_study(page: Mapping[str, Any]) -> list[str]:
    """A study's page for a terminal: its leaderboard, and the course of the best trial."""
    folder = Path(page["folder"])
    counts = ", ".join(f"{count} {state}" for state, count in page["trials"].items())
    board = read_leaderboard(folder, page["study"], tuple(page["objectives"]))
    file = board.best.weights if board.best is not None else None
    rows = [
        ("study", page["study"]),
        ("folder", str(near(folder))),
        ("state", page["state"]),
        ("started", shown_time(page["started"])),
        ("trials", f"{counts or 'none'}, {page['planned']} planned" if page["planned"] else counts),
        ("size", _sizes(page)),
        ("best file", "" if file is None else str(near(file))),
    ]
    best = [] if page["best"] is None else [f"trial {page['best']['trial']}, the best:", *_drawing(page)]
    preferred = preference_lines(board)
    return [*_table(rows), "", *lines(board, terminal_width()), *([""] if best or preferred else []), *preferred, *best]


def _metric(series: Mapping[str, Mapping[int, float]], asked: str | None) -> str:
    if asked is None:
        return next((key for key in _USUAL if key in series), _USUAL[0])
    if asked not in series:
        raise UserError("--metric", asked, f"this run has: {', '.join(sorted(series)) or 'no metrics yet'}")
    return asked


def _weights(folder: Path) -> dict[str, int]:
    """Name -> bytes of every weights file."""
    try:
        entries = list(os.scandir(RunDir(folder).weights))
    except OSError:
        return {}
    files = (entry for entry in entries if entry.is_file() and entry.name.endswith((".safetensors", ".ckpt", ".pt")))
    return {entry.name: entry.stat().st_size for entry in sorted(files, key=lambda entry: entry.name)}


def _sizes(page: Mapping[str, Any]) -> str:
    parts = ", ".join(f"{part} {shown_size(size)}" for part, size in page["sizes"].items() if size)
    return f"{shown_size(page['size'])}{f' ({parts})' if parts else ''}"


def _drawing(page: Mapping[str, Any]) -> list[str]:
    points = page["points"]
    last = f", last {number(list(points.values())[-1])}" if points else ""
    is_loss = page["metric"].endswith("loss") or page["metric"].startswith("val/")
    limit = limit_of_courses([list(points.items())]) if is_loss else None
    return curve(points, f"{page['metric']}{last}", limit, terminal_width())


def _attempts(count: int) -> str:
    return f"{count} attempt{'' if count == 1 else 's'}"


def _table(rows: list[tuple[str, str]]) -> list[str]:
    """Names and values in two columns; a name is said once, rows without a value not at all."""
    kept = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in kept)
    names = ["" if place and kept[place - 1][0] == name else name for place, (name, _) in enumerate(kept)]
    return [f"{name:<{width}}  {value}" for name, (_, value) in zip(names, kept, strict=True)]

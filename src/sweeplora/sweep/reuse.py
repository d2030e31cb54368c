"""Runs that are already there: found by signature, and taken into a study without running again."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics

_TAKEN = ("metrics.jsonl", "result.json", "log.txt", "dataset.json", "samples", "weights")


def find(runs: Path, signature: str) -> RunDir | None:
    """A finished run of this signature below `runs`, or None."""
    return next((run for run in _candidates(runs, signature) if is_finished(run)), None)


def is_finished(run: RunDir) -> bool:
    """Whether the training ended well and its supervisor saw that."""
    result, trial = read_json(run.result), read_json(run.trial)
    return (result or {}).get("status") == "finished" and (trial or {}).get("verdict") == "complete"


def take(found: RunDir, into: RunDir) -> None:
    """Give a new run folder the finished one's files, as hard links: nothing is copied, nothing depends on it."""
    for name in _TAKEN:
        source, target = found.path / name, into.path / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)  # what an interrupted attempt, or a taking, left
            shutil.copytree(source, target, copy_function=_link)
        elif source.exists():
            target.unlink(missing_ok=True)
            _link(source, target)


def _link(source: Path | str, target: Path | str) -> None:
    """A hard link, or a copy on a file system that has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def objective_values(run: RunDir, objectives: tuple[str, ...]) -> list[float | None]:
    """The last step's value of each objective, None where it was never measured."""
    series = read_metrics(run.metrics)
    return [list(series[key].values())[-1] if key in series else None for key in objectives]


def free_name(parent: Path, name: str) -> str:
    """`name-2`, or the first such number without a folder."""
    number = 2
    while (parent / f"{name}-{number}").exists():
        number += 1
    return f"{name}-{number}"


def finite(values: Sequence[float | None]) -> bool:
    """Whether every value is there and a finite number."""
    return all(value is not None and math.isfinite(value) for value in values)


def _candidates(runs: Path, signature: str) -> Iterator[RunDir]:
    for folder in sorted(runs.glob(f"*/*-{signature}")):
        yield RunDir(folder)
    for record in sorted(runs.glob("single/*/trial.json")):
        if (read_json(record) or {}).get("signature") == signature:
            yield RunDir(record.parent)

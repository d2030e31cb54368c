"""Reuse of existing runs: found by signature and linked into a study instead of training again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sweeplora.content import sha256
from sweeplora.report.objectives import last_values
from sweeplora.report.words import near
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.naming import read_naming
from sweeplora.rundir.record import (
    DamagedRecord,
    read_result,
    read_trial,
    write_result,
)

_LINKED = ("metrics.jsonl", "scores.jsonl", "result.json", "log.txt", "dataset.json", "samples", "weights")


class Found(NamedTuple):
    """A run to use instead of training again, and why others with the same signature cannot be used, one line each."""

    run: RunDir | None
    passed_over: tuple[str, ...]


def find(candidates: Iterable[RunDir], objectives: Sequence[str] = ()) -> Found:
    """The first finished, intact run among those of one signature."""
    passed_over: list[str] = []
    for run in candidates:
        if is_finished(run):
            wrong = fault(run, objectives)
            if wrong is None:
                return Found(run, tuple(passed_over))
            passed_over.append(f"{near(run.path)} is not reused: {wrong}")
    return Found(None, tuple(passed_over))


def is_finished(run: RunDir) -> bool:
    """Whether the training finished and its supervisor recorded it as complete."""
    try:
        result, trial = read_result(run), read_trial(run)
    except DamagedRecord:
        return False
    return result is not None and result.status == "finished" and trial is not None and trial.verdict == "complete"


def fault(run: RunDir, objectives: Sequence[str] = ()) -> str | None:
    """What is missing or damaged in a finished run's weights and metrics; None if it is intact."""
    return weights_fault(run) or _metrics_fault(run, objectives)


def weights_fault(run: RunDir) -> str | None:
    """What is wrong with a finished run's last weights; None if they are as the training wrote them."""
    try:
        result = read_result(run)
    except DamagedRecord as error:
        return str(error)
    if result is None:
        return "result.json is gone"
    if result.weights is None:
        return None
    if not (run.path / result.weights).is_file():
        return f"{result.weights} is gone"
    return f"{result.weights} is damaged" if has_damaged_weights(run) else None


def has_damaged_weights(run: RunDir) -> bool:
    """Whether the last weights exist but differ from what the training wrote."""
    try:
        result = read_result(run)
    except DamagedRecord:
        return False
    if result is None or result.weights is None or not (run.path / result.weights).is_file():
        return False
    return result.weights_sha256 not in (None, sha256(run.path / result.weights))


def _metrics_fault(run: RunDir, objectives: Sequence[str]) -> str | None:
    result = read_result(run)
    known = {} if result is None else result.metrics
    for name, value in zip(objectives, last_values(run, objectives), strict=True):
        if value is None:
            return f"{run.metrics.name} has no value of {name}"
        if name in known and known[name] != value:
            return f"{run.metrics.name} is not as the training left it"
    return None


def link_files(found: RunDir, into: RunDir) -> None:
    """Hard-link the files of a finished run into a run folder: nothing is copied, and either can be deleted.

    The weights are renamed to fit this folder's study.
    """
    for name in _LINKED:
        source, target = found.path / name, into.path / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)  # leftovers of an interrupted attempt or an earlier linking
            shutil.copytree(source, target, copy_function=_link)
        elif source.exists():
            target.unlink(missing_ok=True)
            _link(source, target)
    _rename_weights(found, into)


def _rename_weights(found: RunDir, into: RunDir) -> None:
    """Rename linked weights and their preview to this folder's naming, and update result.json."""
    result = read_result(found)
    if result is None or result.weights is None:
        return
    last = Path(result.weights)
    old = read_naming(found, last.stem).stem
    new = read_naming(into, old).stem
    if new == old or last.stem != old:
        return
    for file in sorted(into.weights.iterdir()):
        if file.name.startswith(old):
            file.rename(file.with_name(new + file.name.removeprefix(old)))
    into.result.unlink()  # a hard link to the other run's file
    write_result(into, replace(result, weights=f"{into.weights.name}/{new}{last.suffix}"))


def _link(source: Path | str, target: Path | str) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def free_name(parent: Path, name: str) -> str:
    """`name-2`, or the first higher number that has no folder."""
    number = 2
    while (parent / f"{name}-{number}").exists():
        number += 1
    return f"{name}-{number}"

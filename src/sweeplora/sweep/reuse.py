"""Runs that are already there: found by signature, and linked into a study without running again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import DamagedRecord, read_result, read_trial, readable_trials, trial_folders

_LINKED = ("metrics.jsonl", "result.json", "log.txt", "dataset.json", "samples", "weights")


def find(runs: Path, signature: str) -> RunDir | None:
    """A finished run of this signature below `runs`, or None."""
    return next((run for run in _candidates(runs, signature) if is_finished(run)), None)


def is_finished(run: RunDir) -> bool:
    """Whether the training ended well and its supervisor saw that."""
    try:
        result, trial = read_result(run), read_trial(run)
    except DamagedRecord:
        return False
    return result is not None and result.status == "finished" and trial is not None and trial.verdict == "complete"


def link_files(found: RunDir, into: RunDir) -> None:
    """Give a run folder the files of a finished one, as hard links: nothing is copied, and either can be deleted."""
    for name in _LINKED:
        source, target = found.path / name, into.path / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)  # what an interrupted attempt, or an earlier linking, left
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


def free_name(parent: Path, name: str) -> str:
    """`name-2`, or the first such number without a folder."""
    number = 2
    while (parent / f"{name}-{number}").exists():
        number += 1
    return f"{name}-{number}"


def _candidates(runs: Path, signature: str) -> Iterator[RunDir]:
    for folder in sorted(runs.glob(f"*/*-{signature}")):
        yield RunDir(folder)
    for folder, record in readable_trials(trial_folders(runs / "single")):
        if record.signature == signature:
            yield RunDir(folder)

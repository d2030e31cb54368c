"""The studies and runs below a runs folder, listed quickly: there may be thousands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.rundir.files import read_sealed
from sweeplora.rundir.folder import SINGLE
from sweeplora.rundir.record import STUDY

_TRIAL = "trial.json"
_BEFORE = {"driver.lock", "driver.log"}
_NOT_STUDIES = {SINGLE, "cache", "artifacts", "workspaces"}


def is_study(folder: Path) -> bool:
    """Whether a folder is a study's."""
    return (folder / STUDY).is_file()


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's: it has a supervisor's record, or a training's configuration and metrics."""
    return (folder / _TRIAL).is_file() or all((folder / name).is_file() for name in ("config.yaml", "metrics.jsonl"))


def study_folders(runs: Path) -> list[Path]:
    """The studies below `runs`, by name."""
    names = (entry.name for entry in _entries(runs) if entry.is_dir() and entry.name not in _NOT_STUDIES)
    return [runs / name for name in sorted(names) if is_study(runs / name)]


def never_began(folder: Path) -> bool:
    """Whether a study's folder holds no more than its driver leaves there before the study is opened."""
    return {entry.name for entry in _entries(folder)} <= _BEFORE


def idle_folders(runs: Path) -> list[Path]:
    """The folders directly below `runs` of studies that never began, by name."""
    names = [entry.name for entry in _entries(runs) if entry.is_dir() and entry.name not in _NOT_STUDIES]
    return [runs / name for name in sorted(names) if never_began(runs / name)]


def single_folders(runs: Path) -> list[Path]:
    """The single runs below `runs`, by name."""
    return run_folders(runs / SINGLE)


def run_folders(parent: Path) -> list[Path]:
    """The run folders directly below a folder, by name; quicker than a glob where there are thousands."""
    folders = sorted(entry.path for entry in _entries(parent) if entry.is_dir())
    return [Path(folder) for folder in folders if os.path.exists(f"{folder}/{_TRIAL}")]


def every_run(runs: Path) -> Iterator[Path]:
    """Every run folder below `runs`: those of the studies, then the single ones."""
    for study in study_folders(runs):
        yield from run_folders(study)
    yield from single_folders(runs)


def runs_with_signature(runs: Path, signature: str) -> list[Path]:
    """The run folders of an experiment, by the (beginning of its) signature: trials, then single runs."""
    trials = [path for path in every_run(runs) if _signature(path).startswith(signature)]
    return sorted(trials, key=lambda path: path.parent.name == SINGLE)


def _signature(folder: Path) -> str:
    """The signature of a run: in a trial's folder name, or in a single run's record."""
    if folder.parent.name != SINGLE:
        return folder.name.partition("-")[2]
    return str((read_sealed(folder / _TRIAL) or {}).get("signature") or "")


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def refuse_unreachable(key: str, name: str) -> None:
    """Raise UserError for a name that no path can have, or whose folder may not be looked into."""
    for part in (name, *Path(name).parts):
        try:
            os.lstat(part)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            continue
        except OSError as error:
            raise UserError(key, name, f"cannot be looked for ({error.strerror}); give another name") from None

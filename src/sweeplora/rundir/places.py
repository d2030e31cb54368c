"""The studies and runs below a runs folder, listed quickly: there may be thousands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.rundir.files import read_sealed
from sweeplora.rundir.folder import SINGLE
from sweeplora.rundir.record import STUDY

_NUMBERED = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:-.*)?")
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


def owner_of(run: Path) -> Path:
    """The folder that a run is driven and recorded by: its study's, or its own if it is a single run."""
    return run.parent if is_study(run.parent) else run


def runs_with_signature(runs: Path, signature: str) -> list[Path]:
    """The run folders of an experiment, by the (beginning of its) signature: trials, then single runs."""
    trials = [path for path in every_run(runs) if _signature(path).startswith(signature)]
    return sorted(trials, key=lambda path: path.parent.name == SINGLE)


def roots_named(runs: Path, word: str) -> list[str]:
    """The paths below `runs` that a word means as a whole study or single run, whether they are there or not.

    A name is `STUDY`, `single/NAME` or `NAME`, in full; a path is that of the folder itself. A bare `NAME` may mean a
    study and a single run: both are given. Whatever else a word is, it names nothing.
    """
    if not word.strip() or "\0" in word:
        return []
    parts = [part for part in word.rstrip("/").split("/") if part != "."]
    roots = [root for root in [_root_at(runs, Path(word))] if root is not None]
    if len(parts) == 1:
        roots += [parts[0], f"{SINGLE}/{parts[0]}"]
    elif len(parts) == 2 and parts[0] == SINGLE and not roots:
        roots += [word.rstrip("/")]
    wrong = {"", "..", *_NOT_STUDIES}
    return [root for root in dict.fromkeys(roots) if root not in wrong and root.rpartition("/")[2] not in ("", "..")]


def _root_at(runs: Path, path: Path) -> str | None:
    """The path below `runs` of what lies directly there or in `single/`; None for any other path."""
    parent, name = os.path.realpath(path.absolute().parent), path.absolute().name
    if parent == os.path.realpath(runs):
        return name
    return f"{SINGLE}/{name}" if parent == os.path.realpath(runs / SINGLE) else None


def numbers_of(name: str) -> tuple[int, int | None] | None:
    """The number of a trial, and that of its repetition or None: of a folder `004.1-<signature>`, or typed as `4.1`.

    None for a name that begins with no number.
    """
    match = _NUMBERED.fullmatch(name)
    return None if match is None else (int(match[1]), None if match[2] is None else int(match[2]))


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

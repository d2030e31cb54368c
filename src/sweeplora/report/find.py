"""Runs by the names that people have for them: a path, study/number, a folder's name, an MLflow id, a weights file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeplora.config.nearest import nearest
from sweeplora.errors import UserError
from sweeplora.report.leaderboard import read_leaderboard
from sweeplora.report.origin import origin_of
from sweeplora.rundir.files import read_sealed
from sweeplora.rundir.folder import MIRROR, SINGLE, RunDir
from sweeplora.rundir.places import (
    every_run,
    is_run,
    is_study,
    numbers_of,
    refuse_unreachable,
    run_folders,
    runs_with_signature,
    single_folders,
    study_folders,
)
from sweeplora.rundir.record import read_study

_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_FOLDER = re.compile(r"\d+(?:\.\d+)?-\w+")
_SIGNATURE = re.compile(r"[0-9a-f]{6,12}")
_MLFLOW_ID = re.compile(r"[0-9a-f]{32}")


def find_run(runs: Path, name: str) -> RunDir:
    """The run that a word of the command line names, below the folder `runs` or at a path of its own.

    A word is one of: the path of a run folder or of anything in it, `study/number` (`ranks/4`, and `ranks/4.1` for its
    first repetition), `study/folder`, a run folder's name, a single run's name, a study (its best trial), a signature
    or its beginning, an MLflow run id, a weights file anywhere (found by its content or by the signature in it). Raises
    UserError with the nearest names otherwise.
    """
    folder = find_folder(runs, name)
    return RunDir(folder) if not is_study(folder) else best_run(folder)


def find_folder(runs: Path, name: str) -> Path:
    """The folder of the study or the run that a word names; see `find_run`. Raises UserError."""
    if not name.strip():
        raise UserError("RUN", name, "give a run: study/number, a folder, or a weights file")
    refuse_unreachable("RUN", name)
    found = _at_path(Path(name)) or _named(runs, name)
    if found is not None:
        return found
    if Path(name).is_file():
        return _of_file(runs, Path(name))
    if not runs.is_dir():
        raise UserError("runs", runs, "there is no such folder; give runs=FOLDER")
    raise UserError("RUN", name, f"no such run below {runs}; {_nearest(runs, name)}")


def best_run(study: Path) -> RunDir:
    """A study's best trial. Raises UserError if none is complete."""
    record = read_study(study)
    objectives = record.objectives if record is not None else ("val/loss",)
    best = read_leaderboard(study, study.name, objectives).best
    if best is None:
        raise UserError("RUN", study.name, f"no trial of this study is complete; name one, {study.name}/NUMBER")
    return RunDir(best.folder)


def _at_path(path: Path) -> Path | None:
    """The run or study at a path, or the one that a file in it or in its `weights/` belongs to."""
    if not path.exists():
        return None
    here = path.absolute()
    above = [here, here.parent, here.parent.parent] if here.is_file() else [here, here.parent]
    if is_study(here):
        return here
    return next((place for place in above if is_run(place)), here.parent if is_study(here.parent) else None)


def _named(runs: Path, name: str) -> Path | None:
    first, _, rest = name.strip("/").partition("/")
    if rest:
        parent = Path(name).absolute().parent
        study = parent if is_study(parent) else runs / first
        word = Path(name).name if study == parent else rest
        return _only(_in_study(study, word), name) or _at_path(runs / name)
    for place in (runs / name, runs / SINGLE / name):
        if is_study(place) or is_run(place):
            return place
    if _MLFLOW_ID.fullmatch(name):
        return next(
            (path for path in _mirrored(runs) if (read_sealed(path / MIRROR) or {}).get("run_id") == name), None
        )
    matches = [path for path in every_run(runs) if path.name == name] if _FOLDER.fullmatch(name) else []
    if not matches and _SIGNATURE.fullmatch(name):
        matches = runs_with_signature(runs, name)[:1]  # runs of one experiment are equal
    return _only(matches, name)


def _in_study(study: Path, word: str) -> list[Path]:
    """The trials of a study with this number, or whose folder has this name or begins so."""
    folders = run_folders(study)
    if _NUMBER.fullmatch(word):
        return [path for path in folders if numbers_of(path.name) == numbers_of(word)]
    return [path for path in folders if path.name == word] or [path for path in folders if path.name.startswith(word)]


def _only(matches: Sequence[Path], name: str) -> Path | None:
    if len(matches) > 1:
        some = ", ".join(f"{path.parent.name}/{path.name}" for path in matches[:4])
        raise UserError("RUN", name, f"{len(matches)} runs are called so: {some}; name one of them")
    return matches[0] if matches else None


def _of_file(runs: Path, file: Path) -> Path:
    origin = origin_of(file, runs)
    if not origin.folders:
        raise UserError(
            "RUN", file, f"no run below {runs} wrote this file; `python -m sweeplora which` shows what it says"
        )
    return origin.folders[0]


def _mirrored(runs: Path) -> Iterator[Path]:
    yield from study_folders(runs)
    yield from every_run(runs)


def _nearest(runs: Path, name: str) -> str:
    first, _, rest = name.partition("/")
    study = runs / first
    if rest and is_study(study):
        numbers = sorted(int(path.name.partition("-")[0]) for path in run_folders(study) if _numbered(path))
        return f"its trials are {first}/{numbers[0]} to {first}/{numbers[-1]}" if numbers else "it has no trials yet"
    known = [*(path.name for path in study_folders(runs)), *(path.name for path in single_folders(runs))]
    if not known:
        return "there is none yet"
    said = nearest(name, known)
    return "`python -m sweeplora list` shows them" if said.startswith("see ") else said


def _numbered(path: Path) -> bool:
    return path.name.partition("-")[0].isdigit()

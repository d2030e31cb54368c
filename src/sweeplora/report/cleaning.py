"""What can be removed below a runs folder without losing a result, and its removal: only there, and only that."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.errors import UserError
from sweeplora.report.summaries import run_summary, size_on_disk
from sweeplora.rundir.files import read_json, read_sealed
from sweeplora.rundir.folder import SINGLE, RunDir
from sweeplora.rundir.lock import is_held
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.places import every_run, idle_folders, is_study, run_folders, single_folders, study_folders
from sweeplora.tensors.safetensors_header import read_metadata
from sweeplora.tensors.stored import UnreadableFile

FRUITLESS = ("failed", "diverged", "damaged")
"""States of a run that ended without a result."""

_FRUITS = ("weights", "samples", "checkpoints")
_TEMPORARY = re.compile(r"\..+\.(\d+)\.\d+\.tmp")
_WEIGHTS = (".safetensors", ".ckpt", ".pt")
_ENTRY = re.compile(r"([0-9a-f]{40})(?:-.*|[0-9a-f]{24})?")
"""The name of a cache entry: digits of the content's hash, and the sizes or settings."""

_DIGITS = 40

_SETTLED_SECONDS = 3600.0
"""What was written later may still be in use by a machine whose processes are not seen here."""


@dataclass(frozen=True)
class Removal:
    """Files or folders to remove together; `what` and `why` are for the user, `size` in bytes."""

    what: str
    why: str
    paths: tuple[Path, ...]
    size: int


def failed_runs(runs: Path) -> list[Removal]:
    """Single runs that failed and left no weights, preview or state.

    A study's failed trials are part of its answer: they go with the study.
    """
    found = []
    for folder in single_folders(runs):
        run = run_summary(folder)
        if run.state in FRUITLESS and not is_running(folder) and left_nothing(folder):
            found.append(Removal(f"{SINGLE}/{folder.name}", f"{run.state}, and it left nothing", (folder,), run.size))
    return found


def leftovers(runs: Path) -> list[Removal]:
    """Half-written files of ended processes, databases put aside, empty studies, backups that no run refers to."""
    idle = [folder for folder in idle_folders(runs) if not is_running(folder)]
    found = [Removal(one.name, "a study that never began", (one,), size_on_disk(one)) for one in idle]
    writers = _Writers(runs, time.time())
    for path in _walk(runs):
        if _TEMPORARY.fullmatch(path.name) and not writers.may_write(path):
            found.append(_file(runs, path, "half-written by a process that has ended"))
        elif path.name.endswith(".db.broken"):
            found.append(_file(runs, path, "a database that was put aside when it was found damaged"))
    known = _backups_in_use(runs)
    if known is not None and not any(is_running(study) for study in study_folders(runs)):
        for path in sorted((runs / "workspaces").glob("*.tar.gz")):
            if path.name.removesuffix(".tar.gz") not in known:
                found.append(_file(runs, path, "a workspace's backup that no run refers to"))
    return found


def cache_orphans(runs: Path) -> list[Removal]:
    """Cached outputs for images and captions that no run lists any more, one entry for each kind.

    What the base model itself gives is an orphan where there is no run left. Nothing is one while something runs: a
    training lists its images only once it has read them.
    """
    folders = list(every_run(runs))
    if any(map(is_running, [*study_folders(runs), *folders])):
        return []
    entries = [entry for folder in folders for entry in _listed(folder)]
    images = {digest[:_DIGITS] for entry in entries for digest in _images(entry)}
    captions = {hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] for entry in entries for text in _captions(entry)}
    kinds: dict[str, tuple[str, Container[str]]] = {
        "latents": ("no run has their images", images),
        "masks": ("no run has their images", images),
        "texts": ("no run has their captions", captions),
    }
    if not folders:
        kinds["base"] = ("there is no run", ())
    found = []
    for kind, (why, known) in kinds.items():
        paths = [path for path in _walk(runs / "cache" / kind) if _is_orphan(path, known)]
        if paths:
            size = sum(path.stat().st_size for path in paths)
            found.append(Removal(f"cache/{kind}: {len(paths)} entries", why, tuple(paths), size))
    return found


def weights_but(folders: Sequence[Path], best: int | None) -> list[Removal]:
    """Weights files of runs to remove: all but each run's last one, or but the `best` files of all runs together.

    The best are those with the least val/loss at their step; files whose step or loss is unknown stay. The preview
    beside a file goes with it.
    """
    rated = [(path, loss) for folder in folders for path, loss in _rated(folder)]
    if best is None:
        kept = {last for folder in folders if (last := _last(folder)) is not None}
    else:
        known = sorted((loss, path) for path, loss in rated if loss is not None)
        kept = {path for _, path in known[:best]} | {path for path, loss in rated if loss is None}
    found = []
    for path, _ in rated:
        if path not in kept:
            paths = (path, *(one for one in [path.with_suffix(".png")] if one.is_file()))
            why = "not the last weights of its run" if best is None else f"not among the {best} best"
            size = sum(one.stat().st_size for one in paths)
            found.append(Removal("/".join(path.parts[-4:]), why, paths, size))
    return found


def whole(folder: Path) -> Removal:
    """A study or a run with everything in it. Raises UserError if it is running."""
    if is_running(folder):
        raise UserError(
            "clean", folder.name, "it is running; stop it first (Ctrl-C in its terminal), nothing is removed"
        )
    return Removal(folder.name, "named on the command line", (folder,), size_on_disk(folder))


def is_running(folder: Path) -> bool:
    """Whether a living process drives a study, one of its trials, or a single run."""
    locks = [folder / "driver.lock", RunDir(folder).lock]
    locks += [RunDir(run).lock for run in run_folders(folder)]
    return any(lock.exists() and is_held(lock) for lock in locks)


def remove(runs: Path, removal: Removal) -> int:
    """Remove exactly these paths; returns the bytes that this frees, none of a file that has another name elsewhere.

    Raises UserError, before anything is removed, for a path that is not below `runs`.
    """
    inside = runs.resolve()
    for path in removal.paths:
        if not path.parent.resolve().is_relative_to(inside) or path.resolve() == inside:
            raise UserError("clean", path, f"is not below {runs}; nothing outside of it is removed")
    freed = _freed(removal.paths)
    for path in removal.paths:
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        elif path.is_dir():
            shutil.rmtree(path)
    return freed


def _freed(paths: Sequence[Path]) -> int:
    """Bytes of the files at and below these paths all of whose names (hard links) are there."""
    names: dict[tuple[int, int], list[os.stat_result]] = {}
    for path in paths:
        for file in _walk(path) if path.is_dir() and not path.is_symlink() else [path]:
            try:
                status = file.lstat()
            except OSError:  # removed meanwhile
                continue
            names.setdefault((status.st_dev, status.st_ino), []).append(status)
    return sum(same[0].st_size for same in names.values() if len(same) >= same[0].st_nlink)


def any_file(folder: Path) -> bool:
    """Whether there is a file below a folder."""
    return any(names for _, _, names in os.walk(folder))


def left_nothing(folder: Path) -> bool:
    """Whether a run has no weights, no preview and no state to go on from."""
    return not any(any_file(folder / name) for name in _FRUITS)


class _Writers:
    """Which half-written files may still be written, by a process of any machine that shares the folder."""

    def __init__(self, runs: Path, now: float) -> None:
        self._runs = runs
        self._now = now
        self._busy: dict[Path, bool] = {}

    def may_write(self, temporary: Path) -> bool:
        """Whether its process lives here, or its run, study or file is in use or was written not long ago.

        Its name says the process but not the machine. What lies outside of all runs, as the cache, belongs to each.
        """
        match = _TEMPORARY.fullmatch(temporary.name)
        if match is None or Path(f"/proc/{match[1]}").exists() or not self._is_settled([temporary]):
            return True
        first, *rest = temporary.relative_to(self._runs).parts
        owner = self._runs / first / rest[0] if first == SINGLE and len(rest) > 1 else self._runs / first
        if first != SINGLE and not is_study(owner):
            return any(map(self._is_busy, [*study_folders(self._runs), *single_folders(self._runs)]))
        return self._is_busy(owner)

    def _is_busy(self, owner: Path) -> bool:
        if owner not in self._busy:
            self._busy[owner] = is_running(owner) or not self._is_settled(_walk(owner))
        return self._busy[owner]

    def _is_settled(self, files: Iterable[Path]) -> bool:
        """Whether none of the files was written within the hour before now."""
        for file in files:
            try:
                if file.lstat().st_mtime > self._now - _SETTLED_SECONDS:
                    return False
            except OSError:  # its writer removed it meanwhile
                return False
        return True


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder by name; links are not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(place, name)


def _file(runs: Path, path: Path, why: str) -> Removal:
    return Removal(path.relative_to(runs).as_posix(), why, (path,), path.lstat().st_size)


def _backups_in_use(runs: Path) -> set[str] | None:
    """The backups that runs refer to; None if one cannot be told, because what says it is damaged."""
    owners = (*study_folders(runs), *single_folders(runs))
    found = [read_sealed(facts) for owner in owners for facts in owner.glob("provenance/*/session.json")]
    if any(facts is None for facts in found):
        return None
    return {str(facts.get("workspace") or "") for facts in found if facts is not None}


def _listed(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The images in a run's dataset.json."""
    for entry in (read_json(folder / "dataset.json") or {}).get("files") or []:
        if isinstance(entry, dict):
            yield entry


def _images(entry: Mapping[str, Any]) -> Iterator[str]:
    """The hashes of an image and of its mask."""
    mask = entry.get("mask")
    yield str(entry.get("sha256") or "")
    yield str(mask.get("sha256") or "") if isinstance(mask, dict) else ""


def _captions(entry: Mapping[str, Any]) -> Iterator[str]:
    """An image's caption, and the text of it that was encoded once for all steps where that is another."""
    yield from (text for key in ("caption", "plain") if isinstance(text := entry.get(key), str))


def _is_orphan(path: Path, known: Container[str]) -> bool:
    match = _ENTRY.fullmatch(path.stem)
    return path.suffix == ".safetensors" and match is not None and match[1] not in known


def _files(folder: Path) -> list[Path]:
    weights = RunDir(folder).weights
    return sorted(path for path in weights.glob("*") if path.suffix in _WEIGHTS and not path.name.startswith("."))


def _last(folder: Path) -> Path | None:
    """The last weights by the training's own report, else the newest file."""
    named = (read_sealed(RunDir(folder).result) or {}).get("weights")
    if isinstance(named, str) and (folder / named).is_file():
        return folder / named
    return max(_files(folder), key=lambda path: path.stat().st_mtime_ns, default=None)


def _rated(folder: Path) -> Iterator[tuple[Path, float | None]]:
    """Each weights file with val/loss at its step, None where one of the two is unknown."""
    losses = read_metrics(RunDir(folder).metrics).get("val/loss", {})
    for path in _files(folder):
        try:
            step = read_metadata(path)[0].get("ss_steps", "")
        except (UnreadableFile, OSError):
            step = ""
        yield path, losses.get(int(step)) if step.isascii() and step.isdigit() else None

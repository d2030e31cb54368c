"""The current run folders of one study or one single run; a file is parsed again only when it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import yaml

from sweeplora.rundir.folder import SINGLE, RunDir
from sweeplora.rundir.lock import is_held
from sweeplora.rundir.record import (
    STUDY,
    DamagedRecord,
    StudyRecord,
    TrialRecord,
    read_study,
    read_trial,
    replicate_folders,
    trial_folders,
)

Content = TypeVar("Content")


class SeenTrial(NamedTuple):
    """A run folder with its record as of one version of `trial.json`."""

    path: Path
    record: TrialRecord
    version: int


class ParsedFiles(Generic[Content]):
    """Parsed file contents, cached by modification time."""

    def __init__(self, parse: Callable[[Path], Content | None]) -> None:
        self._parse = parse
        self._known: dict[Path, tuple[int, Content | None]] = {}

    def get(self, file: Path) -> Content | None:
        """The parsed content of a file, None if there is no file."""
        changed = version(file)
        if file not in self._known or self._known[file][0] != changed:
            self._known[file] = (changed, self._parse(file) if changed else None)
        return self._known[file][1]


class RunFolders:
    """The folders below `path`, the folder of a study or a single run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.single = path.parent.name == SINGLE
        self.runs = path.parent.parent if self.single else path.parent
        self._damaged: dict[Path, str] = {}
        self._trials: ParsedFiles[TrialRecord] = ParsedFiles(lambda file: self._readable(file, _trial))
        self._studies: ParsedFiles[StudyRecord] = ParsedFiles(lambda file: self._readable(file, _study))
        self._configs: ParsedFiles[dict[str, Any]] = ParsedFiles(lambda file: self._readable(file, _config))

    @property
    def name(self) -> str:
        """The folder's path below `runs`."""
        return f"{SINGLE}/{self.path.name}" if self.single else self.path.name

    @property
    def damaged(self) -> list[str]:
        """What is wrong with the files that could not be read, one line each."""
        return list(self._damaged.values())

    def name_of(self, run: Path) -> str:
        """A run folder's path below `runs`."""
        return self.name if self.single else f"{self.name}/{run.name}"

    def study(self) -> StudyRecord | None:
        """The study's record; None for a single run."""
        return None if self.single else self._studies.get(self.path / STUDY)

    def trials(self) -> list[SeenTrial]:
        """Every run folder with its record, trials before their repetitions; damaged records are skipped."""
        found = []
        below = [self.path] if self.single else [*trial_folders(self.path), *replicate_folders(self.path)]
        for folder in below:
            changed = version(RunDir(folder).trial)
            record = self._trials.get(RunDir(folder).trial)
            if record is not None:
                found.append(SeenTrial(folder, record, changed))
        return found

    def config(self, run: Path) -> dict[str, Any]:
        """A run's resolved config; a refused proposal has none."""
        return self._configs.get(RunDir(run).config) or {}

    def is_orphaned(self) -> bool:
        """Whether a record still says `running`; called after the command that wrote it has ended."""
        study = self.study()
        if study is not None:
            return study.state == "running"
        return any(trial.record.verdict == "running" for trial in self.trials())

    def _readable(self, file: Path, parse: Callable[[Path], Content | None]) -> Content | None:
        self._damaged.pop(file, None)
        try:
            return parse(file)
        except DamagedRecord as error:
            self._damaged[file] = str(error)
            return None


def version(file: Path) -> int:
    """A number that changes whenever the file is written; 0 if there is no file."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def is_held_by_anyone(lock: Path) -> bool:
    """Whether a living process holds a lock; asking does not create the lock file."""
    return lock.exists() and is_held(lock)


def _trial(file: Path) -> TrialRecord | None:
    return read_trial(RunDir(file.parent))


def _study(file: Path) -> StudyRecord | None:
    return read_study(file.parent)


def _config(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DamagedRecord(file.name, file, f"this file is damaged ({str(error).splitlines()[0]})") from None
    if not isinstance(config, dict):
        raise DamagedRecord(file.name, file, "this file is not a resolved config")
    return config

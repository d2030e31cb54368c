"""The records of run folders as types: `trial.json`, `result.json` and `study.json`, read and written only here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

from sweeplora.errors import UserError
from sweeplora.rundir.files import is_intact, sealed, write_json
from sweeplora.rundir.folder import RunDir

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Scalar = str | int | float | bool | None
"""What a searched key can have as its value."""

Verdict = Literal["running", "complete", "pruned", "failed", "diverged", "interrupted"]
Status = Literal["finished", "failed", "refused", "diverged", "interrupted"]
State = Literal["running", "finished", "interrupted"]
Record = TypeVar("Record")

STUDY = "study.json"
_REPLICATE = re.compile(r"\d+\.\d+-([0-9a-f]+|refused)")


class DamagedRecord(UserError):
    """A record that is not JSON or lacks the expected structure; names the file."""


class TrialOutcome(NamedTuple):
    """How a trial or one of its attempts ended.

    `values` are the objectives of a complete trial. `final`: another attempt could not end differently.
    """

    verdict: Verdict
    message: str = ""
    values: tuple[float, ...] = ()
    final: bool = True


@dataclass
class Attempt:
    """One process that trained a run folder. Times are seconds since the epoch."""

    started: float
    slot: int = 0
    ended: float | None = None
    pid: int | None = None
    start_ticks: int | None = None
    """Clock ticks from boot to the start of the process: with `pid` it names one process for good."""
    exit_code: int | None = None
    verdict: Verdict = "running"
    message: str = ""
    outside: bool = False
    """Ended by something that was neither the training nor its driver."""
    reached: int = 0
    """The last step that it logged."""

    @property
    def seconds(self) -> float:
        """How long it ran; 0 while it runs."""
        return 0.0 if self.ended is None else self.ended - self.started


@dataclass
class TrialRecord:
    """`trial.json`: what the supervisor knows about a run folder. A single run has no study and no number."""

    verdict: Verdict
    study: str | None = None
    number: int | None = None
    signature: str | None = None
    overrides: tuple[str, ...] = ()
    params: Mapping[str, Scalar] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    value: float | list[float] | None = None
    """The objective of a complete trial, a list where there are several; the mean over seeds with sweep.replicates."""
    own: float | list[float] | None = None
    """The objective of this training alone, where `value` is a mean."""
    replicate: int | None = None
    """Which repetition of trial `number` with another seed it is, from 1 on; None for the trial itself."""
    steps: int | None = None
    processes: int | None = None
    threads: int | None = None
    """CPU threads of each process. All attempts run with the first one's numbers: last digits depend on them."""
    pieces: int = 1
    """In how many pieces each batch goes through the model: doubled when memory ran out and launcher.on_oom=halve."""
    message: str = ""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Hashes of what the configuration's paths hold, by dotted key."""
    code: Mapping[str, str] = field(default_factory=dict)
    """The hash of the training's source, and the versions of the libraries that compute."""
    proposed: tuple[str, ...] = ()
    """The last of the overrides: those that a study proposed."""
    parent: str | None = None
    """The run folder, below `runs` or anywhere, whose state this run began from."""
    found: str | None = None
    """The run folder, relative to `runs`, that this trial was taken from instead of being trained."""

    @property
    def values(self) -> tuple[float, ...]:
        """The objectives' values; empty unless all are present and finite."""
        return _finite(self.value)

    @property
    def own_values(self) -> tuple[float, ...]:
        """The values of this training alone, where `values` are means."""
        return _finite(self.own)

    @property
    def seconds(self) -> float:
        """Total duration of its attempts, in seconds."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def outcome(self) -> TrialOutcome:
        """How it ended."""
        return TrialOutcome(self.verdict, self.message, self.values)

    def end(self, outcome: TrialOutcome) -> None:
        """Set how it ended."""
        values = outcome.values
        self.verdict, self.message = outcome.verdict, outcome.message
        self.value = values[0] if len(values) == 1 else list(values) or None


@dataclass
class Result:
    """`result.json`: the training's own report of how it ended. Paths are relative to the run folder."""

    status: Status
    message: str = ""
    seconds: float = 0.0
    step: int | None = None
    steps: int | None = None
    world_size: int | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    threads: int | None = None
    """CPU threads of each process, as torch had them."""


@dataclass
class StudyRecord:
    """`study.json`: what a study asks, and the state of its driver. Times are seconds since the epoch."""

    study: str
    objective: str | list[str]
    started: float
    state: State = "running"
    ended: float | None = None
    direction: str = "minimize"
    search: Any = None
    pruner: Any = None
    space: Any = None
    trials: int | None = None
    processes: int | None = None
    threads: int | None = None
    """CPU threads of each process of a trial, as the study's first plan had them."""
    overrides: tuple[str, ...] = ()
    driver_pid: int | None = None
    command: tuple[str, ...] = ()
    alpha: float | None = None
    """The error rate of the verdict, after the looks at repetitions that were spent before it."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics to minimise."""
        return objective_names(self.objective)


def _finite(written: float | list[float] | None) -> tuple[float, ...]:
    """The numbers of an objective or several; none unless all are finite."""
    values = tuple(written) if isinstance(written, list) else () if written is None else (written,)
    return values if all(map(math.isfinite, values)) else ()


def objective_names(written: str | Sequence[str]) -> tuple[str, ...]:
    """The metrics of an objective as written in configurations and study.json: one name or a list."""
    return (written,) if isinstance(written, str) else tuple(written)


def read_trial(run: RunDir) -> TrialRecord | None:
    """A run's `trial.json`, None if there is none. Raises DamagedRecord."""
    return _read(run.trial, TrialRecord)


def write_trial(run: RunDir, record: TrialRecord) -> None:
    """Write a run's `trial.json` atomically."""
    write_json(run.trial, sealed(asdict(record)))


def read_result(run: RunDir) -> Result | None:
    """A run's `result.json`, None if there is none. Raises DamagedRecord."""
    return _read(run.result, Result)


def write_result(run: RunDir, result: Result) -> None:
    """Write a run's `result.json` atomically."""
    write_json(run.result, sealed(asdict(result)))


def read_study(folder: Path) -> StudyRecord | None:
    """A study's `study.json`, None if there is none. Raises DamagedRecord."""
    return _read(folder / STUDY, StudyRecord)


def write_study(folder: Path, record: StudyRecord) -> None:
    """Write a study's `study.json` atomically."""
    write_json(folder / STUDY, sealed(asdict(record)))


def trial_folders(study: Path) -> list[Path]:
    """The run folders of a study's trials, by name: those with a `trial.json`, without repetitions."""
    return [folder for folder in _with_record(study) if not _REPLICATE.fullmatch(folder.name)]


def replicate_folders(study: Path, number: int | None = None) -> list[Path]:
    """The run folders that repeat a trial of the study (or any) with another seed: `004.1-<signature>`, by name."""
    begin = "*" if number is None else f"{number:03}.*"
    return [folder for folder in _with_record(study, begin) if _REPLICATE.fullmatch(folder.name)]


def _with_record(study: Path, name: str = "*") -> list[Path]:
    return sorted(path.parent for path in study.glob(f"{name}/{RunDir(study).trial.name}"))


def readable_trials(folders: Sequence[Path]) -> Iterator[tuple[Path, TrialRecord]]:
    """Each folder with its trial's record; damaged records are skipped."""
    for folder in folders:
        try:
            record = read_trial(RunDir(folder))
        except DamagedRecord:
            continue
        if record is not None:
            yield folder, record


def damaged_trials(folders: Sequence[Path]) -> list[str]:
    """What is wrong with the records that `readable_trials` skips, one line each."""
    found = []
    for folder in folders:
        try:
            read_trial(RunDir(folder))
        except DamagedRecord as error:
            found.append(str(error))
    return found


def _read(path: Path, kind: type[Record]) -> Record | None:
    from pydantic import ValidationError

    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(content, dict):
        raise _damaged(path, "it is not a JSON object")
    if not is_intact(content):
        raise _damaged(path, "its content is not what was written")
    try:
        record: Record = _adapter(cast("Any", kind)).validate_python(renamed(content))
        return record
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{place}: {first['msg'].lower()}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def renamed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with current names for keys that were renamed, and defaults for keys that used to be null."""
    renamed = {key: value for key, value in content.items() if value is not None}
    if isinstance(renamed.get("command"), str):
        renamed["command"] = [renamed["command"]]
    if isinstance(renamed.get("attempts"), list):
        renamed["attempts"] = [
            {"start_ticks" if key == "birth" else key: value for key, value in attempt.items()}
            if isinstance(attempt, Mapping)
            else attempt
            for attempt in renamed["attempts"]
        ]
    return renamed


def _damaged(path: Path, reason: str) -> DamagedRecord:
    mend = f"this file is damaged or not sweeplora's ({reason[:200]}); remove it, or its folder"
    return DamagedRecord(path.name, path, mend)

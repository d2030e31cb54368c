"""A run or study as sent to MLflow: parameters, tags, state and leaderboard, from the folder's records."""

from __future__ import annotations

import functools
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from sweeplora.record.provenance.secret import without_credentials
from sweeplora.report.leaderboard import Entry, Leaderboard, note
from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.words import brief_values, named_values
from sweeplora.rundir.metrics import Point
from sweeplora.rundir.record import Result, StudyRecord, TrialRecord

PARAM_LENGTH = 6000
KEY_LENGTH = 250
TAG_LENGTH = 8000

OBJECTIVE = "sweep.objective"
"""The parameter of a sweep's run with its objective, or a JSON list of several."""

SWEPT = "sweeplora.swept"
"""The tag of a sweep's run with the searched keys, as a JSON list."""

REPEATED = "sweeplora.repeated"
"""The tag of a sweep's run with how many of its trials were trained with further seeds, where any were."""

STATE = "state"
"""The tag of a run with how it ended, as a column of MLflow's list shows it."""

_MOST_SWEPT = 24
_MOST_SHOWN = 5
_NOTE = "mlflow.note.content"

_STATUS = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "finished": "FINISHED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
    "diverged": "FAILED",
    "refused": "FAILED",
}
_UNNAMEABLE = re.compile(r"[^\w\-. :/]", re.ASCII)


@dataclass(frozen=True)
class Subject:
    """The desired state of one MLflow run. Times are milliseconds since the epoch."""

    identity: str
    name: str
    started: int
    ended: int | None
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    swept: Mapping[str, str] = field(default_factory=dict)
    """What a study proposed for this run."""
    model: str = ""
    """What a trial's weights are listed as: its name without points, which MLflow allows in no model's."""


def one_line(error: Exception) -> str:
    """An error message shortened to one line."""
    return without_credentials(" ".join(str(error).split()))[:200]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) for every leaf; a list is one leaf, `None` and booleans are written as in YAML."""
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{dotted}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            shown = _without_credentials(f"{dotted}={text}").removeprefix(f"{dotted}=")  # a key may mark a secret
            yield _UNNAMEABLE.sub("_", dotted)[:KEY_LENGTH], shown[:PARAM_LENGTH]


@functools.lru_cache(maxsize=8192)
def _without_credentials(line: str) -> str:
    """As `without_credentials`, remembered: a look at a run that grows goes through its whole configuration again."""
    return without_credentials(line)


def milliseconds(seconds: float | None) -> int | None:
    """Seconds since the epoch as MLflow's milliseconds."""
    return None if seconds is None else round(seconds * 1000)


def status_of(verdict: str) -> str:
    """MLflow's status for a verdict, a study's state or a training's own status."""
    return _STATUS[verdict]


def verdict_of(trial: TrialRecord, result: Result | None, abandoned: bool) -> str:
    """The supervisor's verdict, else the training's own status; `abandoned`: nothing runs any more."""
    if trial.verdict != "running" or not abandoned:
        return trial.verdict
    return "interrupted" if result is None else result.status


def short_name(trial: TrialRecord, folder: str) -> str:
    """A trial's name for the run list, its values first: `dim 4 · alpha 1 (3)`; `(3.1)` repeats it."""
    if trial.number is None:
        return folder
    again = "" if trial.replicate is None else f".{trial.replicate}"
    return f"{brief_values(trial.params)[:KEY_LENGTH]} ({trial.number}{again})".strip()


def model_of(trial: TrialRecord) -> str:
    """As `short_name`, for a trial's weights: `dim 4 · lr 59e-4 (3)`, `(3-1)` repeats it; empty without values."""
    if trial.number is None or not trial.params:
        return ""
    again = "" if trial.replicate is None else f"-{trial.replicate}"
    return f"{brief_values(trial.params, points=False)[:KEY_LENGTH]} ({trial.number}{again})"


def began(trial: TrialRecord, since: float) -> float:
    """When a trial's first attempt started; `since` for a trial reused from an earlier run, which has none."""
    return trial.attempts[0].started if trial.attempts else since


def identity_of(folder: str, since: float) -> str:
    """A run's unique identity: its folder below `runs`, and when its study (or first attempt) began."""
    return f"{folder}|{since:.3f}"


def closed(trial: TrialRecord, when: float | None) -> TrialRecord:
    """The record of a trial that is no longer supervised: an open last attempt is closed at `when`."""
    if not trial.attempts or trial.attempts[-1].ended is not None:
        return trial
    last = trial.attempts[-1]
    ended = max(last.started, when or 0.0)
    return replace(trial, attempts=[*trial.attempts[:-1], replace(last, ended=ended)])


def trial_subject(folder: str, config: Mapping[str, Any], trial: TrialRecord, verdict: str, since: float) -> Subject:
    """A trial (or a single run) as an MLflow run.

    `since`: when its study (or first attempt) began, which distinguishes it from an earlier one in the same folder.
    """
    start = began(trial, since)
    ended = (trial.attempts[-1].ended if trial.attempts else None) or start
    tags = {
        "sweeplora.kind": "trial" if trial.study else "run",
        "sweeplora.folder": folder,
        STATE: verdict,
        "sweeplora.attempts": str(len(trial.attempts)),
    }
    if trial.replicate is not None:
        tags["sweeplora.kind"] = "replicate"
        tags["sweeplora.replicate_of"] = f"{trial.number:03d}"
    if trial.signature:
        tags["sweeplora.signature"] = trial.signature
    if trial.parent:
        tags["sweeplora.parent"] = trial.parent
    if trial.overrides:
        tags["sweeplora.overrides"] = without_credentials(" ".join(trial.overrides))
        tags[_NOTE] = _bullets(trial.overrides)
    return Subject(
        identity=identity_of(folder, since),
        name=short_name(trial, folder.rsplit("/", 1)[-1]),
        started=round(start * 1000),
        ended=None if verdict == "running" else round(ended * 1000),
        status=status_of(verdict),
        params={**dict(flatten(trial.params)), **dict(flatten(config))},  # a group's choice is no key of the config
        swept=dict(flatten(trial.params)),
        model=model_of(trial),
        tags={key: value[:TAG_LENGTH] for key, value in tags.items()},
    )


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- `{without_credentials(line)}`" for line in lines)


def study_subject(study: StudyRecord, board: Leaderboard, said: Sequence[str] = ()) -> Subject:
    """A sweep as the parent MLflow run of its trials; `said` is its verdict, a line each."""
    asked = {
        "objective": study.objective,
        "direction": study.direction,
        "search": study.search,
        "trials": study.trials,
        "overrides": study.overrides,
        "space": study.space,
    }
    tags = {
        "sweeplora.kind": "sweep",
        "sweeplora.folder": study.study,
        STATE: study.state,
        "sweeplora.best": board.best.folder.name if board.best is not None else "",
        _NOTE: study_note(board, said),
        SWEPT: json.dumps(list(dict.fromkeys(key for entry in board.entries for key in entry.params))[:_MOST_SWEPT]),
    }
    if repeated := sum(any(again.values for again in repeats) for repeats in board.repeats.values()):
        tags[REPEATED] = str(repeated)
    return Subject(
        identity=identity_of(study.study, study.started),
        name=study.study,
        started=round(study.started * 1000),
        ended=None if study.state == "running" else milliseconds(study.ended),
        status=status_of(study.state),
        params=dict(flatten({"sweep": asked})),
        tags={key: value[:TAG_LENGTH] for key, value in tags.items()},
    )


def with_pictures(subject: Subject, run_id: str, keys: Sequence[str]) -> Subject:
    """The subject with the map and the contact sheets among the files `keys` of run `run_id` shown in its note.

    MLflow's notes may hold pictures, by an address below the page's own. They stand below the verdict: of a long note
    MLflow shows the first lines, and the rest on a click.
    """
    shown = [key for key in keys if key == "plots/map.png" or key.startswith("sheets/prompt-")][:_MOST_SHOWN]
    if not shown:
        return subject
    pictures = "\n\n".join(f"![{key}](get-artifact?path={quote(key, safe='')}&run_uuid={run_id})" for key in shown)
    verdict, _, table = f"\n\n{subject.tags[_NOTE]}".partition("\n\n| ")
    note_ = "\n\n".join(part for part in (verdict.strip(), pictures, table and f"| {table}") if part)
    return replace(subject, tags={**subject.tags, _NOTE: note_[:TAG_LENGTH]})


def with_best(subject: Subject, best: Entry, run_id: str, experiment: str) -> Subject:
    """The subject of a sweep with a link to the page of its best trial's run, above all else in its note."""
    named = " · ".join(part for part in (f"trial {best.number}", named_values(best.params)) if part)
    page = f"#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"
    note_ = f"Best: [{named}]({page})\n\n{subject.tags[_NOTE]}"
    return replace(subject, tags={**subject.tags, _NOTE: note_[:TAG_LENGTH]})


def study_note(board: Leaderboard, said: Sequence[str]) -> str:
    """The verdict, then the leaderboard, in Markdown."""
    return "\n".join([*(f"- {line}" for line in said), *([""] if said else []), note(board)])


def command_of(study: StudyRecord) -> str:
    """The command that began or continued a study, as typed."""
    return without_credentials(study.command[0] if len(study.command) == 1 else shlex.join(study.command))


def best_so_far(board: Leaderboard) -> list[Point]:
    """The best value after each complete trial, in the order they ended, with their count as the step.

    Depends only on the folders, so that a replay writes the same points. There are none for a person's preference:
    every comparison changes all of its values.
    """
    if PREFERENCE in board.objectives:
        return []
    timed = [(entry.ended or 0.0, entry.number, entry) for entry in board.entries if entry.values and entry.trained]
    points = []
    best = [math.inf] * len(board.objectives)
    for step, (when, _, entry) in enumerate(sorted(timed, key=lambda one: one[:2]), start=1):
        best = [min(pair) for pair in zip(best, entry.values, strict=True)]
        for key, value in zip(board.objectives, best, strict=True):
            points.append(Point(step, f"best/{key}", value, when))
    return points

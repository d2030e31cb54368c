"""What MLflow is told of a run or a study: parameters, tags, state and leaderboard, from the folder's JSON."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeplora.record.provenance.secret import without_credentials
from sweeplora.rundir.metrics import Point

PARAM_LENGTH = 6000
KEY_LENGTH = 250
TAG_LENGTH = 8000

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
    """One MLflow run as it should be now. Times are milliseconds since the epoch."""

    identity: str
    name: str
    started: int
    ended: int | None
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


def one_line(error: Exception) -> str:
    """What went wrong, short enough for one line."""
    return without_credentials(" ".join(str(error).split()))[:200]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) for every leaf; lists are one leaf, `None` and booleans are spelt as in YAML."""
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{dotted}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            yield _UNNAMEABLE.sub("_", dotted)[:KEY_LENGTH], without_credentials(text)[:PARAM_LENGTH]


def milliseconds(seconds: float | None) -> int | None:
    """Seconds since the epoch as MLflow counts time."""
    return None if seconds is None else round(seconds * 1000)


def status_of(verdict: str) -> str:
    """MLflow's status for a verdict, a study's state or a training's own status."""
    return _STATUS[verdict]


def verdict_of(trial: Mapping[str, Any], result: Mapping[str, Any] | None, abandoned: bool) -> str:
    """The supervisor's verdict; where it left none, the training's own; `abandoned`: nothing runs any more."""
    verdict: str = trial.get("verdict", "running")
    if verdict != "running" or not abandoned:
        return verdict
    return "interrupted" if result is None else str(result["status"])


def short_name(number: int | None, folder: str, params: Mapping[str, Any]) -> str:
    """A trial's name for the run list: its number and what was varied, `003 dim=4 alpha=1`."""
    if number is None:
        return folder
    varied = [f"{key.rsplit('.', 1)[-1]}={value}" for key, value in params.items()]
    return " ".join([f"{number:03d}", *varied])[:KEY_LENGTH]


def began(trial: Mapping[str, Any], since: float) -> float:
    """When a trial's first attempt started; a trial that was known from an earlier run has none: `since`."""
    attempts = trial.get("attempts") or []
    return float(attempts[0]["started"]) if attempts else since


def trial_subject(
    folder: str, config: Mapping[str, Any], trial: Mapping[str, Any], verdict: str, since: float
) -> Subject:
    """A trial (or a single run) as an MLflow run.

    `since`: when its study (or its first attempt) began, which tells it from an earlier one in a folder of that name.
    """
    attempts: Sequence[Mapping[str, Any]] = trial.get("attempts") or []
    start = began(trial, since)
    ended = (attempts[-1].get("ended") if attempts else None) or start
    tags = {
        "sweeplora.kind": "trial" if trial.get("study") else "run",
        "sweeplora.folder": folder,
        "sweeplora.verdict": verdict,
        "sweeplora.attempts": str(len(attempts)),
    }
    if trial.get("signature"):
        tags["sweeplora.signature"] = str(trial["signature"])
    if trial.get("overrides"):
        tags["sweeplora.overrides"] = without_credentials(" ".join(trial["overrides"]))
        tags["mlflow.note.content"] = _bullets(trial["overrides"])
    return Subject(
        identity=f"{folder}|{since:.3f}",
        name=short_name(trial.get("number"), folder.rsplit("/", 1)[-1], trial.get("params") or {}),
        started=round(start * 1000),
        ended=None if verdict == "running" else round(ended * 1000),
        status=status_of(verdict),
        params=dict(flatten(config)),
        tags={key: value[:TAG_LENGTH] for key, value in tags.items()},
    )


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- `{without_credentials(line)}`" for line in lines)


def study_subject(study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], abandoned: bool) -> Subject:
    """A sweep as the MLflow run its trials hang below."""
    state = str(study["state"])
    if state == "running" and abandoned:
        state = "interrupted"
    asked = {key: study.get(key) for key in ("objective", "direction", "search", "trials", "overrides", "space")}
    best = leaderboard(trials)[:1]
    tags = {
        "sweeplora.kind": "sweep",
        "sweeplora.folder": str(study["study"]),
        "sweeplora.verdict": state,
        "sweeplora.best": f"{best[0]['number']:03d}-{best[0]['signature']}" if best else "",
        "mlflow.note.content": note(study, trials),
    }
    return Subject(
        identity=f"{study['study']}|{float(study['started']):.3f}",
        name=str(study["study"]),
        started=round(float(study["started"]) * 1000),
        ended=None if state == "running" else milliseconds(study.get("ended")),
        status=status_of(state),
        params=dict(flatten({"sweep": asked})),
        tags={key: value[:TAG_LENGTH] for key, value in tags.items()},
    )


def command_of(study: Mapping[str, Any]) -> str:
    """The command that began or continued a study, as one types it."""
    command = study.get("command") or ""
    return without_credentials(shlex.join(command) if isinstance(command, list) else str(command))


def values_of(trial: Mapping[str, Any]) -> list[float]:
    """A trial's objective values, none where it has not all of them as finite numbers."""
    value = trial.get("value")
    values = value if isinstance(value, list) else [value]
    finite = [float(each) for each in values if isinstance(each, int | float) and math.isfinite(each)]
    return finite if len(finite) == len(values) else []


def leaderboard(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Complete trials, best first (all objectives are minimised; several are ordered by the first)."""
    done = [trial for trial in trials if trial.get("verdict") == "complete" and values_of(trial)]
    return sorted(done, key=lambda trial: (values_of(trial), trial.get("number") or 0))


def note(study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
    """The leaderboard in Markdown, which MLflow shows on the sweep's page."""
    objectives = objectives_of(study)
    ranked = leaderboard(trials)
    rest = [trial for trial in trials if trial not in ranked]
    keys = list(dict.fromkeys(key for trial in trials for key in trial.get("params") or {}))
    lines = ["| | trial | " + " | ".join([*objectives, *keys, "state"]) + " |"]
    lines.append("|" + "---|" * (3 + len(objectives) + len(keys)))
    for rank, trial in enumerate([*ranked, *rest], start=1):
        values = [f"{value:.5g}" for value in values_of(trial)] or [""] * len(objectives)
        params = [str((trial.get("params") or {}).get(key, "")) for key in keys]
        place = str(rank) if rank <= len(ranked) else ""
        cells = [place, f"{trial.get('number', 0):03d}", *values, *params, str(trial.get("verdict"))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def objectives_of(study: Mapping[str, Any]) -> list[str]:
    """The names of the metrics that the study minimises."""
    objective = study["objective"]
    return [str(each) for each in objective] if isinstance(objective, list) else [str(objective)]


def best_so_far(study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The best value after each complete trial, in the order they ended, the count of them as step.

    It depends on nothing but the folders, so that a replay writes the same points.
    """
    ended = [(t["attempts"][-1].get("ended") or 0.0, t) for t in leaderboard(trials) if t.get("attempts")]
    points = []
    best = [math.inf] * len(objectives_of(study))
    for step, (when, trial) in enumerate(sorted(ended, key=lambda pair: (pair[0], pair[1]["number"])), start=1):
        best = [min(pair) for pair in zip(best, values_of(trial), strict=True)]
        for key, value in zip(objectives_of(study), best, strict=True):
            points.append(Point(step, f"best/{key}", value, when))
    return points

"""A trial on its way into a slot: what was asked, its checked configuration, its folder and its record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.experiment import Experiment
from sweeplora.launch.launcher import Launcher
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.sweep.ledger import Asked, Ledger
from sweeplora.sweep.question import Composer, Question
from sweeplora.sweep.reuse import finite, objective_values
from sweeplora.sweep.screen import Row
from sweeplora.sweep.supervise import Ending, end_leftover


@dataclass(frozen=True)
class Workshop:
    """Everything a study works with: what it asks, who composes and remembers, how trials start."""

    question: Question
    composer: Composer
    ledger: Ledger
    launcher: Launcher
    module: str
    runs: Path

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.runs / self.question.name


class Job(NamedTuple):
    """A trial with its folder, what trial.json says of it, and its line on the screen."""

    asked: Asked
    run: RunDir
    record: dict[str, Any]
    row: Row

    @property
    def signature(self) -> str:
        """Name of the experiment."""
        return str(self.record["signature"])


class Outcome(NamedTuple):
    """The verdict on a trial, and the objectives' values where it completed."""

    verdict: str
    message: str
    values: tuple[float, ...]

    @property
    def value(self) -> float | list[float] | None:
        """As trial.json says it: a number, a list for several objectives, or null."""
        return self.values[0] if len(self.values) == 1 else list(self.values) or None


def prepare(shop: Workshop, asked: Asked, row: Row) -> Job:
    """Compose, check and make the folder of a trial; a folder that a dead driver left is taken over.

    Raises UserError where the proposal is a configuration that cannot run.
    """
    experiment = shop.composer.experiment(asked.proposal.overrides)
    row.steps = experiment.steps
    run = RunDir(shop.folder / f"{asked.number:03}-{experiment.signature}")
    record = read_json(run.trial)
    if record is None:
        RunDir.create(run.path, experiment.yaml)
        record = new_record(shop, asked, experiment)
    else:
        end_leftover(run, record, shop.launcher.rules.grace_seconds)
    return Job(asked, run, record, row)


def refused(shop: Workshop, asked: Asked, row: Row) -> Job:
    """The job of a proposal that cannot run: a folder with a record and no configuration."""
    run = RunDir(shop.folder / f"{asked.number:03}-refused")
    run.path.mkdir(exist_ok=True)
    return Job(asked, run, new_record(shop, asked, None), row)


def new_record(shop: Workshop, asked: Asked, experiment: Experiment | None) -> dict[str, Any]:
    """What trial.json says before the first attempt."""
    return {
        "study": shop.question.name,
        "number": asked.number,
        "signature": experiment.signature if experiment else None,
        "overrides": [*shop.composer.base, *asked.proposal.overrides],
        "params": asked.proposal.params,
        "attempts": [],
        "verdict": "running",
        "value": None,
        "steps": experiment.steps if experiment else None,
    }


def outcome_of(ending: Ending, run: RunDir, objectives: tuple[str, ...]) -> Outcome:
    """The outcome of a trial whose last attempt ended so; a complete one needs finite objectives."""
    if ending.verdict != "complete":
        return Outcome(ending.verdict, ending.message, ())
    values = objective_values(run, objectives)
    named = ", ".join(objectives)
    if None in values:
        return Outcome("failed", f"it finished without a value of {named}", ())
    if not finite(values):
        return Outcome("diverged", f"{named} is not finite at the last step", ())
    return Outcome("complete", ending.message, tuple(value for value in values if value is not None))


def outcome_told(record: dict[str, Any]) -> Outcome:
    """The outcome that a record holds already."""
    value = record["value"]
    values = () if value is None else tuple(value) if isinstance(value, list) else (value,)
    return Outcome(record["verdict"], record.get("message", ""), values)

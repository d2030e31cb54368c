"""A trial on its way to a slot: its proposal, checked configuration, folder and record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sweeplora.experiment import Experiment
from sweeplora.launch.launcher import Launcher
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.naming import Naming, is_named, weights_stem, write_naming
from sweeplora.rundir.record import DamagedRecord, TrialRecord, read_trial
from sweeplora.rundir.state import here, write_origin
from sweeplora.sweep.ledger import AskedTrial, Ledger
from sweeplora.sweep.question import Composer, Question
from sweeplora.sweep.screen import Row
from sweeplora.sweep.supervise import end_leftover


@dataclass(frozen=True)
class StudyContext:
    """Everything a study works with: its question, its composer and ledger, and how trials start."""

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
    """A trial with its folder, its record (trial.json), and its row on the screen."""

    asked: AskedTrial
    run: RunDir
    record: TrialRecord
    row: Row

    @property
    def signature(self) -> str:
        """The signature of the experiment."""
        return str(self.record.signature)


def prepare(context: StudyContext, asked: AskedTrial, row: Row) -> Job:
    """Compose and check a trial and create its folder; a folder left by a dead driver is taken over.

    Raises UserError if the proposed configuration cannot run.
    """
    experiment = context.composer.experiment(asked.proposal.overrides)
    row.steps = experiment.steps
    run = RunDir(context.folder / f"{asked.number:03}-{experiment.signature}")
    record = _readable(run)
    # Even where there is a config.yaml: a damaged one would train something else.
    RunDir.create(run.path, experiment.yaml)
    if not is_named(run):
        name, template = experiment.config["name"], experiment.config["file_name"]
        stem = weights_stem(template, name, experiment.signature, asked.proposal.params)
        write_naming(run, Naming(name, stem, experiment.signature))
    write_origin(run, here(experiment.signature, experiment.contents, experiment.code))
    if record is None or record.signature != experiment.signature:
        record = new_record(context, asked, experiment)
    else:
        end_leftover(run, record, context.launcher.rules.grace_seconds)
    return Job(asked, run, record, row)


def refused(context: StudyContext, asked: AskedTrial, row: Row) -> Job:
    """The job of a proposal that cannot run: a folder with a record but no configuration."""
    run = RunDir(context.folder / f"{asked.number:03}-refused")
    run.path.mkdir(exist_ok=True)
    return Job(asked, run, new_record(context, asked, None), row)


def new_record(context: StudyContext, asked: AskedTrial, experiment: Experiment | None) -> TrialRecord:
    """The content of trial.json before the first attempt."""
    return TrialRecord(
        verdict="running",
        study=context.question.name,
        number=asked.number,
        signature=experiment.signature if experiment else None,
        overrides=(*context.composer.base, *asked.proposal.overrides),
        params=asked.proposal.params,
        steps=experiment.steps if experiment else None,
        contents=dict(experiment.contents) if experiment else {},
        code=dict(experiment.code) if experiment else {},
        proposed=tuple(asked.proposal.overrides),
    )


def _readable(run: RunDir) -> TrialRecord | None:
    """The record in a folder; a damaged one counts as missing, and its trial starts over."""
    try:
        return read_trial(run)
    except DamagedRecord:
        return None

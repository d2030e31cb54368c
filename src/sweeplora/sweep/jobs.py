"""A trial on its way to a slot: its proposal, checked configuration, folder and record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sweeplora.errors import UserError
from sweeplora.experiment import Experiment
from sweeplora.launch.launcher import Launcher
from sweeplora.report.words import params_text
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.naming import Naming, is_named, weights_stem, write_naming
from sweeplora.rundir.record import DamagedRecord, TrialRecord, read_trial, readable_trials
from sweeplora.rundir.state import parent_of
from sweeplora.sweep.alone import without_the_search
from sweeplora.sweep.asked import AskedTrial, Trials
from sweeplora.sweep.question import Composer, Question
from sweeplora.sweep.replicates import Repetition
from sweeplora.sweep.screen import Row
from sweeplora.sweep.supervise import end_leftover


@dataclass(frozen=True)
class StudyContext:
    """Everything a study works with: its question, its composer and ledger, and how trials start."""

    question: Question
    composer: Composer
    ledger: Trials
    launcher: Launcher
    module: str
    runs: Path
    waits: Callable[[], bool] = lambda: False
    """Whether nothing more is asked for before a person has compared trials, so that the driver may end."""
    late_checks: Sequence[Callable[[], object]] = ()
    """What would keep the first trial waiting and is checked while trials run; each raises UserError."""

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.runs / self.question.name


class Job(NamedTuple):
    """A trial with its folder, its record (trial.json), and its row on the screen; a repetition was not asked for."""

    run: RunDir
    record: TrialRecord
    row: Row
    asked: AskedTrial | None = None

    @property
    def title(self) -> str:
        """Its number, and with which of its further seeds: `4`, `4.1`."""
        again = "" if self.record.replicate is None else f".{self.record.replicate}"
        return f"{self.record.number}{again}"

    @property
    def signature(self) -> str:
        """The signature of the experiment."""
        return str(self.record.signature)


def prepare(context: StudyContext, asked: AskedTrial, row: Row) -> Job:
    """Compose and check a trial and create its folder; a folder left by a dead driver is taken over.

    Raises UserError if the proposed configuration cannot run.
    """
    experiment = context.composer.experiment(asked.proposal.overrides)
    run = RunDir(context.folder / f"{asked.number:03}-{experiment.signature}")
    if asked.came_back and not run.path.is_dir():
        raise UserError("trial", asked.number, "its data or another file it reads has changed since it stopped")
    record = _folder(context, run, experiment, new_record(context, asked, experiment))
    row.steps = experiment.steps
    return Job(run, record, row, asked)


def prepare_again(context: StudyContext, due: Repetition, row: Row) -> Job:
    """The same for a repetition of a trial with another seed."""
    trial = read_trial(RunDir(due.folder))
    if trial is None:
        raise UserError("trial.json", due.folder, "the record of the trial that is to be repeated is gone")
    seed = context.question.replication.words(context.question.config, due.place)
    experiment = context.composer.experiment((*trial.proposed, *seed))
    if changed := _changed(trial, experiment, context.question.replication.split):
        raise UserError(
            changed, experiment.contents.get(changed), "its content has changed since the trial was trained"
        )
    run = RunDir(context.folder / f"{due.number:03}.{due.place}-{experiment.signature}")
    new = replace(
        trial,
        verdict="running",
        signature=experiment.signature,
        overrides=(*trial.overrides, *seed),
        attempts=[],
        value=None,
        own=None,
        message="",
        found=None,
        steps=experiment.steps,
        replicate=due.place,
        contents=dict(experiment.contents),
        code=dict(experiment.code),
        proposed=(*trial.proposed, *seed),
    )
    record = _folder(context, run, experiment, new)
    row.swept = {**trial.params, "seed": experiment.config["seed"]}
    row.steps, row.params = experiment.steps, f"{params_text(trial.params)} {' '.join(seed)}"
    return Job(run, record, row)


def _changed(trial: TrialRecord, experiment: Experiment, split: bool) -> str | None:
    """The key whose files have changed since a trial was trained; `split`: another split of the data is meant."""
    for key, digest in trial.contents.items():
        if experiment.contents.get(key) != digest and not (split and key.startswith("data.")):
            return key
    return None


def _folder(context: StudyContext, run: RunDir, experiment: Experiment, new: TrialRecord) -> TrialRecord:
    """Create a run folder or take it over; returns its record."""
    record = _readable(run)
    # Even where there is a config.yaml: a damaged one would train something else.
    RunDir.create(run.path, experiment.yaml)
    if not is_named(run):
        name, template = experiment.config["name"], experiment.config["file_name"]
        swept = dict(new.params) if new.replicate is None else {**new.params, "seed": experiment.config["seed"]}
        stem = weights_stem(template, name, experiment.signature, swept)
        write_naming(run, Naming(name, stem, experiment.signature))
    if record is None or record.signature != experiment.signature:
        return new
    end_leftover(run, record, context.launcher.rules.grace_seconds)
    return record


def refused(context: StudyContext, asked: AskedTrial, row: Row) -> Job:
    """The job of a proposal that cannot run: its folder if it was begun, else one without a configuration."""
    run, record = _begun(context, f"{asked.number:03}")
    return Job(run, record or new_record(context, asked, None), row, asked)


def refused_again(context: StudyContext, due: Repetition, row: Row) -> Job:
    """The same for a repetition."""
    run, record = _begun(context, f"{due.number:03}.{due.place}")
    if record is None:
        trial = _readable(RunDir(due.folder))
        record = TrialRecord(
            verdict="running",
            study=context.question.name,
            number=due.number,
            overrides=trial.overrides if trial is not None else (),
            params=trial.params if trial is not None else {},
            replicate=due.place,
        )
    return Job(run, record, row)


def _begun(context: StudyContext, title: str) -> tuple[RunDir, TrialRecord | None]:
    """The folder and record of a trial or repetition that was begun; else a new folder and None."""
    folders = sorted(path.parent for path in context.folder.glob(f"{title}-*/trial.json"))
    for folder, record in readable_trials(folders):
        end_leftover(RunDir(folder), record, context.launcher.rules.grace_seconds)
        return RunDir(folder), record
    run = RunDir(context.folder / f"{title}-refused")
    run.path.mkdir(exist_ok=True)
    return run, None


def new_record(context: StudyContext, asked: AskedTrial, experiment: Experiment | None) -> TrialRecord:
    """The content of trial.json before the first attempt."""
    return TrialRecord(
        verdict="running",
        study=context.question.name,
        number=asked.number,
        signature=experiment.signature if experiment else None,
        overrides=(*without_the_search(context.question.config, context.composer.base), *asked.proposal.overrides),
        params=asked.proposal.params,
        steps=experiment.steps if experiment else None,
        contents=dict(experiment.contents) if experiment else {},
        code=dict(experiment.code) if experiment else {},
        proposed=tuple(asked.proposal.overrides),
        parent=parent_of(experiment.config) if experiment else None,
    )


def _readable(run: RunDir) -> TrialRecord | None:
    """The record in a folder; a damaged one counts as missing, and its trial starts over."""
    try:
        return read_trial(run)
    except DamagedRecord:
        return None

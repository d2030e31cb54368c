"""One run without a study: the same stages with one slot and no Optuna."""

from __future__ import annotations

import glob
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.errors import UserError
from sweeplora.experiment import Experiment
from sweeplora.launch.dry import Dry
from sweeplora.launch.launcher import TRAINING
from sweeplora.launch.slot import Shape
from sweeplora.report.cleaning import FRUITLESS, left_nothing
from sweeplora.report.objectives import measured
from sweeplora.report.unread import unread
from sweeplora.report.words import near, number
from sweeplora.rundir.disk import RESERVE, keep_reserve, remove_leftovers
from sweeplora.rundir.folder import SINGLE, RunDir
from sweeplora.rundir.lock import is_held
from sweeplora.rundir.naming import Naming, weights_stem, write_naming
from sweeplora.rundir.record import (
    DamagedRecord,
    TrialOutcome,
    TrialRecord,
    objective_names,
    read_trial,
    write_trial,
)
from sweeplora.rundir.state import difference, drop_state, end_state, here, parent_of, read_about
from sweeplora.sweep import reuse
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.known_runs import KnownRuns
from sweeplora.sweep.library_logs import logging_to
from sweeplora.sweep.preloading import Trains, launcher_of
from sweeplora.sweep.recorder import Recorder, finish_recorder, revive_recorder, start_recorder
from sweeplora.sweep.screen import Display, Row, Screen, open_screen
from sweeplora.sweep.supervise import Place, Supervision, end_leftover, result_of, shape_of

WELL, SOME_FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
_POLL_SECONDS = 0.1
_LAST_LINES = 20


class Watch(NamedTuple):
    """What is watched while a run trains."""

    interrupt: Interrupt
    recorder: Recorder | None


def run_single(experiment: Experiment, trains: Trains) -> int:
    """Train one configuration in `runs/single/<name>/` and return the exit code.

    An experiment that finished before is reused (`reuse=false` trains it again); an interrupted one continues in
    its folder; a folder of another experiment is left alone and the next free name is used.
    """
    config = experiment.config
    runs = Path(config["runs"]).absolute()
    screen = open_screen()
    known = KnownRuns(runs).candidates(experiment.signature) if config["reuse"] else ()
    found = reuse.find(known)
    for line in found.passed_over:
        screen.say(line)
    if found.run is not None:
        screen.say(f"this experiment is already there: {near(found.run.path)}")
        if config["train"]["keep_state"] and not found.run.state.exists():
            screen.say("it kept no state, train.keep_state=true changes nothing; reuse=false trains it again")
        _say_weights(found.run, screen)
        return WELL
    run = _folder(runs / SINGLE, config["name"], experiment.signature)
    for line in _not_continued(runs / SINGLE, run, experiment):
        screen.say(line)
    if reuse.is_finished(run):
        drop_state(run)  # its files are damaged: they are made anew from the first step
    return _train(experiment, run, read_trial(run) or _new_record(experiment, None), trains)


def train_anew(experiment: Experiment, shape: Shape | None, module: str = TRAINING) -> tuple[RunDir, int]:
    """Train in a new folder, reusing and continuing nothing; returns the folder and the exit code.

    `shape`: the processes and threads to train with, where the last digits are to be those of an earlier run.
    """
    parent, name = Path(experiment.config["runs"]).absolute() / SINGLE, experiment.config["name"]
    run = RunDir(parent / (reuse.free_name(parent, name) if (parent / name).exists() else name))
    return run, _train(experiment, run, _new_record(experiment, shape), Trains(module))


def _train(experiment: Experiment, run: RunDir, record: TrialRecord, trains: Trains) -> int:
    config, screen = experiment.config, open_screen()
    runs = run.path.parent.parent
    launcher = trains.launcher or launcher_of(config)
    if isinstance(launcher, Dry):
        raise UserError("launcher", "dry", "starts nothing, so there is nothing to do here; leave it out")
    plan = launcher.plan(1, shape_of(record))
    RunDir.create(run.path, experiment.yaml)
    stem = weights_stem(config["file_name"], config["name"], experiment.signature, {})
    write_naming(run, Naming(config["name"], stem, experiment.signature))
    end_leftover(run, record, launcher.rules.grace_seconds)
    with Interrupt() as interrupt, logging_to(run.path / "driver.log"):
        remove_leftovers(run.path)
        keep_reserve(run.path)
        write_trial(run, record)
        arguments = ["--runs", str(runs), "--single", run.path.name, "--config", str(run.config)]
        recorder = start_recorder(config, arguments, run.path / "mirror.log")
        try:
            outcome = _ended_unseen(run, record)
            if outcome is None:
                supervision = Supervision(run, record, Place(launcher, plan.slots[0], trains.module))
                for notice in plan.notices:
                    screen.event(notice)
                outcome = _drive(supervision, experiment, screen, Watch(interrupt, recorder))
        finally:
            launcher.close(kill=interrupt.now)
            (run.path / RESERVE).unlink(missing_ok=True)
        _conclude(run, record, outcome, config)
        recorded = finish_recorder(recorder, screen, interrupt)
        is_fruitless = record.verdict in FRUITLESS and left_nothing(run.path)
        if is_fruitless and recorded.is_over and not config["keep_failed"]:
            _remove(run, config, screen)
        code = _tell(run, record, screen, objective_names(config["sweep"]["objective"]))
        return code if recorded.kept or code != WELL else SOME_FAILED


def _ended_unseen(run: RunDir, record: TrialRecord) -> TrialOutcome | None:
    """How a training ended whose command was killed before it saw that; None if it did not end, or is spoilt since."""
    result = result_of(run)
    is_open = record.verdict in ("running", "interrupted")
    if not is_open or result is None or result.status != "finished" or reuse.fault(run) is not None:
        return None
    return TrialOutcome("complete", result.message)


def _folder(parent: Path, name: str, signature: str) -> RunDir:
    """The experiment's own unfinished folder, or the first free one of that name."""
    number_ = 1
    while True:
        run = RunDir(parent / (name if number_ == 1 else f"{name}-{number_}"))
        if not run.path.exists():
            return run
        if _signature(run) == signature and not (reuse.is_finished(run) and reuse.fault(run) is None):
            if is_held(run.lock):
                raise UserError("name", name, f"this experiment is running in {near(run.path)}; wait for it")
            return run
        number_ += 1


def _not_continued(parent: Path, run: RunDir, experiment: Experiment) -> Iterator[str]:
    """A line for each unfinished run of the same name that has a state which is not this experiment's."""
    ours = here(experiment.signature, experiment.contents, experiment.code)
    for folder in sorted(parent.glob(f"{glob.escape(experiment.config['name'])}*")):
        about = None if folder == run.path else read_about(RunDir(folder).state)
        if about is not None and about.step < about.steps and (why := difference(about.origin, ours)) is not None:
            yield f"{near(folder)} stopped at step {about.step} and does not go on here: {why}"


def _signature(run: RunDir) -> str | None:
    """The signature of the experiment in a folder, None if its record has none; such a folder is left alone."""
    try:
        record = read_trial(run)
    except DamagedRecord:
        return None
    return record.signature if record is not None else None


def _new_record(experiment: Experiment, shape: Shape | None) -> TrialRecord:
    return TrialRecord(
        verdict="running",
        processes=None if shape is None else shape.processes,
        threads=None if shape is None else shape.threads,
        signature=experiment.signature,
        overrides=experiment.overrides,
        steps=experiment.steps,
        contents=dict(experiment.contents),
        code=dict(experiment.code),
        parent=parent_of(experiment.config),
    )


def _drive(supervision: Supervision, experiment: Experiment, screen: Screen, watch: Watch) -> TrialOutcome:
    row = Row("", "", "running", experiment.steps, supervision.progress)
    display = Display(supervision.run.path.name, 1, rows=[row], is_single=True)
    for notice in experiment.notices:
        screen.event(notice)
    screen.event(experiment.arithmetic)
    screen.event(f"{near(supervision.run.path)} started: {experiment.steps} steps")
    try:
        while True:
            revive_recorder(watch.recorder)
            if (line := watch.interrupt.news()) is not None:
                screen.say(line)
            if watch.interrupt.take_state_request():
                supervision.ask_for_state()
            if watch.interrupt.now:
                supervision.kill()
            elif watch.interrupt.requested:
                supervision.stop("interrupted")
            attempts = len(supervision.record.attempts)
            _, outcome = supervision.poll()
            if len(supervision.record.attempts) > attempts:
                row.note = f"(attempt {attempts + 1})"
                screen.event(f"it is tried again: {supervision.record.attempts[-2].message}")
            if outcome is not None:
                row.state, display.ended = outcome.verdict, 1
                screen.show(display)
                return outcome
            screen.show(display)
            time.sleep(_POLL_SECONDS)
    finally:
        screen.close()


def _conclude(run: RunDir, record: TrialRecord, outcome: TrialOutcome, config: dict[str, Any]) -> None:
    """Write the outcome. Unlike a trial, a single run is complete without a value: it need not hold out images."""
    if outcome.verdict == "complete":
        found = measured(run, objective_names(config["sweep"]["objective"]), outcome.message)
        outcome = found if found.verdict == "diverged" else outcome._replace(values=found.values)
    record.end(outcome)
    write_trial(run, record)
    end_state(run, outcome.verdict)


def _tell(run: RunDir, record: TrialRecord, screen: Screen, objectives: Sequence[str]) -> int:
    verdict, message = record.verdict, record.message
    if verdict == "complete":
        told = [f"{name} {number(value)}" for name, value in zip(objectives, record.values, strict=False)]
        screen.say(f"complete, {', '.join(told) or 'without validation'}")
        _say_weights(run, screen)
        return WELL
    screen.say(f"{verdict}{': ' + message if message else ''}")
    if run.log.exists():
        screen.say(f"log:     {near(run.log)}")
    if verdict == "interrupted":
        screen.say(f"the same command {_goes_on(run)}")
        return INTERRUPTED
    return SOME_FAILED


def _remove(run: RunDir, config: dict[str, Any], screen: Screen) -> None:
    """Remove the folder of a failed run that left nothing, once the end of its log was shown."""
    lines = run.log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if run.log.exists() else []
    for line in lines:
        screen.say(f"  {line}")
    shutil.rmtree(run.path, ignore_errors=True)
    where = "; its log is in MLflow" if config["tracking"]["enabled"] else ""
    screen.say(f"it left no weights and no preview: {near(run.path)} is removed{where} (keep_failed=true keeps it)")


def _goes_on(run: RunDir) -> str:
    about = read_about(run.state)
    return "starts it again" if about is None else f"goes on from step {about.step} of {about.steps}"


def _say_weights(run: RunDir, screen: Screen) -> None:
    result = result_of(run)
    screen.say(f"weights: {near(run.path / result.weights) if result is not None and result.weights else 'none'}")
    for line in unread([run.path]):
        screen.say(line)
    screen.say("browse:  python -m sweeplora ui")

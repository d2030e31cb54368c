"""A study from the command line to its leaderboard; a command line without a search space is a single run."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment, NotComposed, Outlook
from sweeplora.launch.launcher import TRAINING, Launcher
from sweeplora.report.leaderboard import Entry, Leaderboard, front, read_leaderboard, write_leaderboard
from sweeplora.report.preference_words import preference_lines
from sweeplora.report.terminal_board import lines, terminal_width
from sweeplora.report.unread import unread
from sweeplora.report.verdict import judge, said, write_verdict
from sweeplora.report.words import near, number, params_text
from sweeplora.rundir.disk import RESERVE, keep_reserve, remove_leftovers
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.folder import REPORT, RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.places import never_began
from sweeplora.rundir.record import (
    DamagedRecord,
    State,
    StudyRecord,
    TrialRecord,
    read_study,
    readable_trials,
    replicate_folders,
    trial_folders,
    write_study,
)
from sweeplora.rundir.state import read_about
from sweeplora.sweep.alone import experiment_of, refuse_sweep
from sweeplora.sweep.comparing import Batches
from sweeplora.sweep.dry_run import Foresight, foretell, is_dry
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.library_logs import logging_to
from sweeplora.sweep.preloading import Trains, launcher_of, preloading
from sweeplora.sweep.question import Check, Compose, Composer, Question, read_question
from sweeplora.sweep.recorder import Recorder, finish_recorder, revive_recorder, start_recorder
from sweeplora.sweep.reuse import has_damaged_weights, weights_fault
from sweeplora.sweep.screen import Screen, open_screen
from sweeplora.sweep.search.grammar import answers, split_command_line
from sweeplora.sweep.search.rehearsal import learns_late, rehearse
from sweeplora.sweep.search.rungs import rungs_of
from sweeplora.sweep.search.space import Space
from sweeplora.sweep.single import INTERRUPTED, REFUSED, SOME_FAILED, WELL, run_single
from sweeplora.sweep.startup import what_is_there_kept, without_collections
from sweeplora.sweep.supervise import now, shape_of

DATABASE = "optuna.db"


def run(
    overrides: Sequence[str],
    compose: Compose,
    check: Check,
    training: str = TRAINING,
    outlook: Callable[[Experiment], Outlook] | None = None,
) -> int:
    """Run what the command line asks for, a single run or a study, and return the exit code.

    Exit codes: 0 success, 1 something failed, 130 interrupted. Raises UserError for bad input, before any training is
    started; a process that imports for it meanwhile is ended. `training` is the module whose `main` takes a run folder.
    With launcher=dry nothing is started: what trainings would take, which `outlook` counts, is printed.
    """
    plain, swept = split_command_line(overrides)
    configuration, composes = _composed_if_it_can(plain, compose)
    if outlook is not None and is_dry(configuration.config):
        print("\n".join(foretell(overrides, compose, Foresight(check, outlook))))
        return WELL
    sweep = configuration.config["sweep"]
    point = [] if swept else answers(sweep["space"], plain)
    searches = bool(swept or sweep["space"]) and not point
    with preloading(configuration.config if composes else None, searches, training) as launcher:
        trains = Trains(training, launcher)
        if point:
            return run_single(experiment_of(point, plain, compose, check), trains)
        composer = Composer(plain, compose, check)
        if searches:
            return run_study(configuration, composer, swept, trains)
        refuse_sweep(configuration.config, plain)
        return run_single(composer.experiment(()), trains)


def _composed_if_it_can(words: Sequence[str], compose: Compose) -> tuple[Configuration, bool]:
    """The configuration of the words that compose, and whether all do; the composer refuses the rest later."""
    try:
        return compose(words), True
    except NotComposed as error:
        return error.rest, False


def run_study(configuration: Configuration, composer: Composer, swept: Space, trains: Trains) -> int:
    """Begin a study, or continue it where an earlier driver stopped."""
    with without_collections():
        question = read_question(configuration, composer, swept)
        _rehearse(question, own_proposals=not learns_late(question.config["search"]))
    launcher = trains.launcher or launcher_of(configuration.config)
    runs = Path(configuration.config["runs"]).absolute()
    folder = runs / question.name
    launcher.plan(question.most_at_once(question.trials), shape_of(read_study(folder)))
    folder.mkdir(parents=True, exist_ok=True)
    with _only_driver(folder, question.name), Interrupt() as interrupt, logging_to(folder / "driver.log"):
        with without_collections():
            study = _Study(question, composer, launcher, runs)
        return study.run(trains.module, interrupt)


def _rehearse(question: Question, own_proposals: bool = True) -> None:
    rehearse(question.config, question.space, len(question.objectives), question.constraints, own_proposals)


class _Study:
    """The lifetime of one driver, from opening the database to closing the record."""

    def __init__(self, question: Question, composer: Composer, launcher: Launcher, runs: Path) -> None:
        # Importing Optuna takes half a second: wait until all input has been checked.
        from sweeplora.sweep.ledger import expect_folder, open_ledger
        from sweeplora.sweep.storage import storage_faults

        self._question = question
        self._composer = composer
        self._launcher = launcher
        self._runs = runs
        self._folder = runs / question.name
        self._ledger = open_ledger(runs, question, lambda words: composer.experiment(words).signature)
        with storage_faults(runs / DATABASE, opening=True):
            ended = self._ledger.ended()
            if ended:
                expect_folder(runs, question.name)
            known = readable_trials(trial_folders(self._folder))
            self._ledger.compare({record.number: record for _, record in known if record.number is not None})
        self._lost = self._lost_trials(ended)
        self._ledger.lose(self._lost)
        self._was_left = False
        self._record: StudyRecord = self._described()

    def run(self, training: str, interrupt: Interrupt) -> int:
        """Start the mirror and the screen, drive the trials, stop both, and report the result."""
        from sweeplora.sweep.driver import Driver
        from sweeplora.sweep.jobs import StudyContext
        from sweeplora.sweep.storage import storage_faults

        open_trials = self._question.trials - self._ledger.counted()
        plan = self._launcher.plan(self._question.most_at_once(open_trials), shape_of(self._record))
        self._record.processes, self._record.threads = plan.slots[0].shape
        remove_leftovers(self._folder)
        keep_reserve(self._folder)
        recorder = self._recorder()
        screen = open_screen()
        batches = None
        if self._question.batch is not None:
            batches = Batches(self._ledger, self._question, self._board)
        waits = batches.waits if batches is not None else lambda: False
        trials = batches or self._ledger
        context = StudyContext(
            *(self._question, self._composer, trials, self._launcher, training, self._runs, waits),
            late_checks=self._late_checks(open_trials),
        )
        for notice in (*self._question.notices, *plan.notices):
            screen.event(notice)
        for number_, reason in sorted(self._lost.items()):
            screen.say(f"trial {number_} is trained again: {reason}")
        driver = Driver(context, plan.slots, screen, interrupt)
        state: State = "interrupted"
        try:
            with storage_faults(self._runs / DATABASE), what_is_there_kept():
                driver.run(lambda: revive_recorder(recorder))
            state = "finished" if driver.is_over else "interrupted"
        finally:
            screen.close()
            self._launcher.close(kill=interrupt.now)
            driver.abandon()
            self._close(state)
            (self._folder / RESERVE).unlink(missing_ok=True)
        board = driver.leaderboard()
        found = judge(board, self._record.space, self._question.replication.alpha)
        write_verdict(self._folder, found)
        write_leaderboard(self._folder, board, (*said(self._folder), *preference_lines(board)))
        is_new = open_trials > 0 or bool(driver.display.rows) or self._was_left
        if (state == "finished" or waits()) and is_new:
            self._draw(state)
        recorded = finish_recorder(recorder, screen, interrupt).kept
        code = self._tell(board, screen, driver.refused, waits())
        return code if recorded or code != WELL else SOME_FAILED

    def _late_checks(self, open_trials: int) -> list[Callable[[], object]]:
        """What is checked while the first trials run: a slow search's own proposals, then the rest of wide choices."""
        question = self._question
        checks: list[Callable[[], object]] = []
        if open_trials > 0 and learns_late(question.config["search"]):
            checks.append(functools.partial(_rehearse, question))
        return checks + [functools.partial(self._composer.experiment, words) for words in question.unchecked]

    def _recorder(self) -> Recorder | None:
        write_whole(self._folder / "config.yaml", self._question.configuration.yaml)
        write_study(self._folder, self._record)
        arguments = ["--runs", str(self._runs), "--study", self._question.name]
        arguments += ["--config", str(self._folder / "config.yaml")]
        return start_recorder(self._question.config, arguments, self._folder / "mirror.log")

    def _lost_trials(self, ended: Sequence[int]) -> dict[int, str]:
        """Ended trials that have to be trained again: number -> what is wrong."""
        pruned = {asked.number for asked in self._ledger.pruned()}
        lost = dict.fromkeys(ended, "its folder, or the trial.json in it, is gone or damaged")
        for folder, record in readable_trials(trial_folders(self._folder)):
            # Missing weights may have been deleted to save space: only damaged ones call for another training.
            if record.verdict == "complete" and has_damaged_weights(RunDir(folder)):
                lost[record.number or 0] = "its weights are damaged"
            elif record.number in lost and self._is_cut_short(RunDir(folder), record, pruned):
                lost[record.number] = "it was lost, and its next training did not come to its end"
            else:
                lost.pop(record.number or 0, None)
        return lost

    def _is_cut_short(self, run: RunDir, record: TrialRecord, pruned: Collection[int]) -> bool:
        """Whether a lost trial was being trained again when a driver stopped; `pruned`: those that Optuna has so."""
        if record.number in pruned and rungs_of(self._question.config["pruner"]) is not None:
            return False  # it goes on in the second part
        if record.verdict == "pruned":
            return record.number not in pruned and read_about(run.state) is not None
        return record.verdict in ("running", "interrupted")

    def _described(self) -> StudyRecord:
        question = self._question
        before = read_study(self._folder)
        self._was_left = before is not None and before.state != "finished"
        objectives = list(question.objectives)
        return StudyRecord(
            study=question.name,
            objective=objectives[0] if len(objectives) == 1 else objectives,
            started=before.started if before is not None else now(),
            search=question.config["search"],
            pruner=question.config["pruner"],
            space=question.space.described(),
            trials=question.trials,
            processes=before.processes if before is not None else None,
            threads=before.threads if before is not None else None,
            overrides=self._composer.base,
            driver_pid=os.getpid(),
            command=tuple(sys.argv),
            alpha=question.replication.alpha,
        )

    def _close(self, state: State) -> None:
        self._record.state, self._record.ended = state, now()
        write_study(self._folder, self._record)

    def _draw(self, state: State) -> None:
        # Importing Matplotlib takes a second: wait until there is something to draw.
        from sweeplora.report.study_report import write_report

        write_report(self._folder, self._record, state, now())

    def _board(self) -> Leaderboard:
        return read_leaderboard(self._folder, self._question.name, self._question.objectives)

    def _tell(self, board: Leaderboard, screen: Screen, refused: UserError | None, waits: bool) -> int:
        verdict = (f"verdict: {line}" for line in (*said(self._folder), *preference_lines(board)))
        passed_over = unread([*trial_folders(self._folder), *replicate_folders(self._folder)])
        for line in ("", *lines(board, terminal_width()), "", *verdict, *_summary(board, self._folder), *passed_over):
            screen.say(line)
        if refused is not None:
            screen.say(f"{refused}\nthe trials so far are kept, and found again by a study of another name")
            return REFUSED
        if lacking := board.lacking():
            goes_on = "; the same command then proposes the next trials" if waits else ""
            few = f"{len(lacking)} trials were not compared often enough"
            screen.say(f"{few}, compare them: python -m sweeplora prefer {board.study}{goes_on}")
        if waits:
            return SOME_FAILED if board.counts().get("failed", 0) else WELL
        if self._record.state == "interrupted":
            screen.say("interrupted; the same command continues the study")
            return INTERRUPTED
        counts = board.counts()
        return SOME_FAILED if counts.get("failed") or not counts.get("complete") else WELL


def _summary(board: Leaderboard, folder: Path) -> list[str]:
    told = [", ".join(f"{count} {verdict}" for verdict, count in board.counts().items())]
    told += [f"trial {e.number} failed: {e.message}" for e in board.entries if e.verdict == "failed"]
    best = board.best
    if len(board.objectives) > 1:
        told += ["no other trial is as good in everything and better in one than these:"] if best is not None else []
        told += [f"  {_values(board, entry)}" for entry in front(board)]
    elif best is not None:
        told.append(f"best:    {_values(board, best)}")
        told.append(f"weights: {near(best.weights) if best.weights else _why_none(best.folder)}")
    told.append(f"study:   {near(folder)}")
    if (folder / REPORT).is_file():
        told.append(f"report:  {near(folder / REPORT)}")
    told.append("browse:  python -m sweeplora ui")
    return told


def _values(board: Leaderboard, entry: Entry) -> str:
    values = ", ".join(f"{name} {number(value)}" for name, value in zip(board.objectives, entry.values, strict=True))
    return f"trial {entry.number}, {values} ({params_text(entry.params)})"


def _why_none(folder: Path) -> str:
    wrong = weights_fault(RunDir(folder))
    return "none" if wrong is None else f"{wrong}; remove {near(folder)} and the same command trains it again"


@contextmanager
def _only_driver(folder: Path, name: str) -> Iterator[None]:
    """Hold a study's driver.lock. Raises UserError if a living driver holds it.

    A study that is refused in this context leaves no folder that holds nothing else.
    """
    try:
        lock = hold(folder / "driver.lock")
    except BlockingIOError:
        mend = f"another command{_process_of(folder)} is running this study; wait for it or give another name"
        raise UserError("sweep.name", name, mend) from None
    with lock:
        try:
            yield
        except UserError:
            if never_began(folder):
                shutil.rmtree(folder)
            raise


def _process_of(folder: Path) -> str:
    """` (process 123)`: the driver of a study, if its record names one."""
    try:
        record = read_study(folder)
    except DamagedRecord:
        return ""
    return "" if record is None or record.driver_pid is None else f" (process {record.driver_pid})"

"""The main loop of a study: fill free slots, follow the trials, prune, and tell Optuna how each ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sweeplora.errors import UserError
from sweeplora.launch.launcher import Waits
from sweeplora.launch.slot import Slot
from sweeplora.report.leaderboard import Leaderboard, read_leaderboard
from sweeplora.report.objectives import measured
from sweeplora.report.words import number, params_text
from sweeplora.rundir.disk import DiskFull
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import TrialOutcome, readable_trials, replicate_folders, trial_folders, write_trial
from sweeplora.rundir.state import drop_state, end_state
from sweeplora.sweep import reuse
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.jobs import Job, StudyContext, prepare, prepare_again, refused, refused_again
from sweeplora.sweep.pruning import Pruning
from sweeplora.sweep.replicates import Repetition, Replicates, mean_outcome
from sweeplora.sweep.screen import Display, Row, Screen
from sweeplora.sweep.second_part import SecondPart, left_at_its_end
from sweeplora.sweep.standings import Standings
from sweeplora.sweep.supervise import Place, Supervision, result_of
from sweeplora.sweep.taken_over import TakenOver

_POLL_SECONDS = 0.1


class Driver:
    """The trials of one study while one driver lives."""

    def __init__(self, context: StudyContext, slots: Sequence[Slot], screen: Screen, interrupt: Interrupt) -> None:
        self._context = context
        self._screen = screen
        self._interrupt = interrupt
        self._free = list(slots)
        self._disk_is_full = False
        self._left = context.ledger.left()
        self._come_back: dict[int, AskedTrial] = {}
        """Trials that Optuna knows as pruned, and that may go on from their state."""
        self._busy: dict[str, tuple[Slot, Job, Supervision]] = {}
        self._replicates = Replicates.of(context.question.replication, context.folder)
        self._waiting: dict[int, tuple[Job, TrialOutcome]] = {}
        """Trials whose own training is complete, while their other seeds are trained."""
        self._confirmed = False
        question = context.question
        self._second = SecondPart(question.config["pruner"], question.objectives[0], question.replication)
        if self._second.rungs is not None:
            self._take_up_the_second_part()
        self._unchecked = list(context.question.unchecked)
        self.refused: UserError | None = None
        """What a late check of the space's choices refused; nothing more is asked then."""
        self._taken_over = TakenOver(context, screen)
        self._pruning = Pruning(context, self._second)
        self._standings = Standings(context.folder, context.question.name, context.question.objectives)
        self.display = Display(context.question.name, context.question.trials, context.ledger.counted())

    def run(self, watch: Callable[[], None] = lambda: None) -> None:
        """Run until every trial has ended or the driver is asked to stop; calls `watch` on every pass."""
        while True:
            watch()
            if (line := self._interrupt.news()) is not None:
                self._screen.say(line)
            if self._interrupt.take_state_request():
                for _, _, supervision in self._busy.values():
                    supervision.ask_for_state()
            if self._stopping:
                self._stop_all()
            else:
                self._fill()
            ended = [key for key in list(self._busy) if self._follow(key)]
            self._check_one()
            self._standings.write_if_due()
            self._screen.show(self.display)
            if not self._busy and (not self._asking or self.is_over or self._context.waits()):
                self._leave_waiting()
                if self.is_over:
                    self._close_second_part()
                return
            if not ended:  # a slot that is free now has its next trial at once
                self._pause()

    def _take_up_the_second_part(self) -> None:
        """Take in where earlier drivers left the trials that may go on, went on, or came to their end meanwhile."""
        self._come_back = {asked.number: asked for asked in self._context.ledger.pruned()}
        lost = {asked.number for asked in self._left}
        for folder, record in readable_trials(trial_folders(self._context.folder)):
            run, asked = RunDir(folder), self._come_back.get(record.number or 0)
            came_back = asked is not None and record.number not in lost
            if asked is not None and came_back and left_at_its_end(run, record):
                self._left.append(asked)
                came_back = False
            self._second.note(run, record, came_back)

    def _close_second_part(self) -> None:
        trials = readable_trials(trial_folders(self._context.folder))
        self._second.close(trials, self._context.launcher.rules.grace_seconds)

    def _pause(self) -> None:
        launcher = self._context.launcher
        if isinstance(launcher, Waits):
            launcher.wait(_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)

    def abandon(self) -> None:
        """Update the records of the running trials after their trainings were terminated."""
        for _, _, supervision in self._busy.values():
            with suppress(DiskFull):
                supervision.abandon("its driver ended with an error")

    @property
    def _stopping(self) -> bool:
        return self._interrupt.requested or self._disk_is_full

    @property
    def _asking(self) -> bool:
        return not self._stopping and self.refused is None

    def leaderboard(self) -> Leaderboard:
        """The study's trials so far, best first."""
        question = self._context.question
        return read_leaderboard(self._context.folder, question.name, question.objectives)

    @property
    def is_over(self) -> bool:
        """Whether every trial ended, those that should go on from their rung did, and the best few are confirmed."""
        ended = self.display.ended >= self.display.total
        return ended and self._second.is_over(self._busy_trials()) and self._confirmed

    def _leave_waiting(self) -> None:
        """Record that trials which wait for their other seeds were left; the next driver takes them up."""
        for job, _ in self._waiting.values():
            job.record.end(TrialOutcome("interrupted", "its other seeds are to be trained"))
            with suppress(DiskFull):
                write_trial(job.run, job.record)

    def _stop_all(self) -> None:
        for _, _, supervision in self._busy.values():
            if self._interrupt.now:
                supervision.kill()
            else:
                supervision.stop("interrupted")

    def _fill(self) -> None:
        while self._free and self._asking:
            if (due := self._replicates.due()) is not None:
                self._repeat(due)
                continue
            asked = self._left.pop(0) if self._left else self._context.ledger.ask()
            if asked is not None:
                self._begin(asked)
            elif not self._go_on() and not self._confirm():
                return

    def _go_on(self) -> bool:
        """Have the best trial that stopped at its rung go on in a free slot; False if none does."""
        number = self._second.next(self._busy_trials())
        if number is None:
            for stopped in self._second.to_stop(self._busy_trials()):
                self._busy[f"{stopped}"][2].stop("pruned")
            return False
        asked = self._come_back[number]
        row = Row(f"{number}", params_text(asked.proposal.params), "starting", None, note="(goes on)")
        row.swept = asked.proposal.params
        self.display.rows.append(row)
        job = self._prepared(asked, row)
        if job is not None and not self._take_result(job):
            self._launch(job)
        return True

    def _busy_trials(self) -> list[int]:
        """The numbers of the running trials, without repetitions."""
        return [job.asked.number for _, job, _ in self._busy.values() if job.asked is not None]

    def _confirm(self) -> bool:
        """Repeat one of the best few with another seed; False if nothing is left to find out for now."""
        if self._confirmed or not self._second.is_over(self._busy_trials()):
            return False
        due = self._replicates.due_of_the_best(self._standings.board())
        if due is None:
            self._confirmed = True
            return False
        self._repeat(due)
        return True

    def _check_one(self) -> None:
        """Compose and check one of the choices that were too many to check before the first trial."""
        if not self._unchecked or not self._asking:
            return
        try:
            self._context.composer.experiment(self._unchecked.pop(0))
        except UserError as error:
            self.refused = error

    def _begin(self, asked: AskedTrial) -> None:
        row = Row(str(asked.number), params_text(asked.proposal.params), "starting", None)
        row.swept = asked.proposal.params
        self.display.rows.append(row)
        job = self._prepared(asked, row)
        if job is not None:
            self._start(job)

    def _prepared(self, asked: AskedTrial, row: Row) -> Job | None:
        """The job of a trial; None for one that cannot run, which is concluded as failed."""
        try:
            return prepare(self._context, asked, row)
        except UserError as error:
            self._conclude(refused(self._context, asked, row), TrialOutcome("failed", str(error)))
            return None

    def _repeat(self, due: Repetition) -> None:
        row = Row(f"{due.number}.{due.place}", "", "starting", None)
        self.display.rows.append(row)
        self._replicates.began(due)
        try:
            job = prepare_again(self._context, due, row)
        except UserError as error:
            self._conclude(refused_again(self._context, due, row), TrialOutcome("failed", str(error)))
            return
        self._start(job)

    def _start(self, job: Job) -> None:
        """Launch a job, unless its folder or another run already holds the result."""
        if job.record.verdict not in ("running", "interrupted", "complete"):
            # A driver died after recording the verdict, before telling Optuna.
            self._conclude(job, job.record.outcome)
        elif not self._take_result(job) and not (self._context.question.config["reuse"] and self._already_there(job)):
            self._launch(job)

    def _take_result(self, job: Job) -> bool:
        """Whether the training came to its end before a driver saw it: it is ended, or trained again if spoilt."""
        result = result_of(job.run)
        if result is None or result.status not in ("finished", "diverged"):
            return False
        if result.status == "diverged":
            self._end(job, TrialOutcome("diverged", result.message))
            return True
        wrong = reuse.fault(job.run, self._context.question.objectives)
        if wrong is None:
            told = job.record.message if job.record.verdict == "complete" else result.message
            self._end(job, TrialOutcome("complete", told))
            return True
        self._screen.event(f"trial {job.title} is trained again: {wrong}")
        drop_state(job.run)
        self._launch(job)
        return True

    def _already_there(self, job: Job) -> bool:
        """Whether the experiment ran before, or is running in another slot."""
        found = self._taken_over.find(job)
        if found is not None:
            self._end(job, self._taken_over.link(job, found))
            return True
        if any(other.signature == job.signature for _, other, _ in self._busy.values()):
            self._taken_over.wait(job)
            return True
        return False

    def _launch(self, job: Job) -> None:
        slot = self._free.pop(0)
        place = Place(self._context.launcher, slot, self._context.module)
        self._busy[job.title] = (slot, job, Supervision(job.run, job.record, place))
        job.row.state = "running"
        self._screen.event(f"trial {job.title} started: {job.row.params}")

    def _follow(self, key: str) -> bool:
        """Process what a running trial has done since the last pass; returns whether it has ended."""
        slot, job, supervision = self._busy[key]
        attempts = len(job.record.attempts)
        points, outcome = supervision.poll()
        job.row.progress = supervision.progress
        if len(job.record.attempts) > attempts:
            job.row.note = f"(attempt {attempts + 1})"
            self._screen.event(f"trial {key} is tried again: {job.record.attempts[-2].message}")
        if outcome is not None:
            del self._busy[key]
            self._free = sorted([*self._free, slot], key=lambda one: one.index)
            self._end(job, outcome)
        elif not supervision.stopping and self._pruning.stops(job, points):
            supervision.stop("pruned")
        return outcome is not None

    def _end(self, job: Job, outcome: TrialOutcome) -> None:
        if outcome.verdict == "complete":
            outcome = measured(job.run, self._context.question.objectives, outcome.message)
        elif outcome.verdict == "pruned" and job.asked is not None and self._second.rungs is not None:
            job.record.end(outcome)
            self._second.note(job.run, job.record, True)
            outcome = TrialOutcome("pruned", self._second.place(job.asked.number))
        if (
            outcome.verdict == "complete"
            and job.asked is not None
            and self._context.question.replication.replicates > 1
        ):
            self._wait(job, outcome)
        else:
            self._conclude(job, outcome)
        for duplicate in self._taken_over.waiting_for(job):
            if outcome.verdict == "complete":
                self._end(duplicate, self._taken_over.link(duplicate, job.run))
            else:
                self._conclude(duplicate, outcome)

    def _wait(self, job: Job, outcome: TrialOutcome) -> None:
        """Have a trial's other seeds trained before it is concluded."""
        job.record.own = outcome.values[0] if len(outcome.values) == 1 else list(outcome.values)
        job.record.end(TrialOutcome("running"))
        write_trial(job.run, job.record)
        job.row.state = "other seeds"
        number = job.record.number or 0
        self._waiting[number] = (job, outcome)
        self._replicates.want(number, job.run.path)
        self._conclude_if_over(number)

    def _conclude_if_over(self, number: int) -> None:
        """Conclude a trial that waits, once all its seeds are trained."""
        if number not in self._waiting or not self._replicates.is_over(number):
            return
        job, own = self._waiting.pop(number)
        again = [record for _, record in readable_trials(replicate_folders(self._context.folder, number))]
        outcome, errors = mean_outcome(own, again)
        self._conclude(job, outcome, errors)

    def _conclude(self, job: Job, outcome: TrialOutcome, errors: Sequence[float] = ()) -> None:
        """Write the outcome to the folder, then tell Optuna: if the driver dies in between, the next one finds it."""
        job.record.end(outcome)
        write_trial(job.run, job.record)
        if outcome.verdict != "pruned" or self._second.rungs is None:
            end_state(job.run, outcome.verdict)
        job.row.state, job.row.note = outcome.verdict, ""
        reason = f": {outcome.message}" if outcome.message else ""
        if outcome.verdict == "interrupted":
            if job.asked is None:
                self._replicates.ended(job.record)
            if self._interrupt.requested or self._disk_is_full:
                self._screen.event(f"trial {job.title} interrupted{reason}")
            else:  # not requested: the disk is full, for this trial and all others
                self._disk_is_full = True
                self._screen.say(f"trial {job.title} interrupted{reason}")
            return
        if job.asked is not None:
            self._context.ledger.tell(job.asked, outcome, errors)
            self.display.ended += not job.asked.came_back
            self._second.note(job.run, job.record, True)
            self._come_back[job.asked.number] = job.asked._replace(came_back=True)
        self._confirmed = False
        self._note(job)
        named = zip(self._context.question.objectives, outcome.values, strict=False)
        detail = ", ".join(f"{name} {number(value)}" for name, value in named) or f"at step {job.row.progress.step}"
        if self._context.question.batch is not None and outcome.verdict == "complete":
            detail = "and to be compared"
        self._screen.event(f"trial {job.title} {outcome.verdict} {detail}{reason}")
        if job.asked is None:
            self._replicates.ended(job.record)
            self._conclude_if_over(job.record.number or 0)

    def _note(self, job: Job) -> None:
        if job.record.verdict == "complete":
            self._taken_over.note(job)
        self._standings.take(job.run, job.record)
        best = self._standings.best
        if best is not None:
            values = " ".join(map(number, best.values))
            self.display.best = f"{values} (trial {best.number}: {params_text(best.params)})"

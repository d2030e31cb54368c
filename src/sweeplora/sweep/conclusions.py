"""How trials end: the outcome goes to the run folder, then to Optuna, then to the leaderboard and the screen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sweeplora.report.leaderboard import Leaderboard
from sweeplora.report.objectives import measured
from sweeplora.report.words import number, params_text
from sweeplora.rundir.disk import DiskFull
from sweeplora.rundir.record import TrialOutcome, readable_trials, replicate_folders, write_trial
from sweeplora.rundir.state import end_state
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.going_on import GoingOn
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.jobs import Job, StudyContext
from sweeplora.sweep.replicates import Replicates, mean_outcome
from sweeplora.sweep.screen import Display, Screen
from sweeplora.sweep.standings import Standings
from sweeplora.sweep.taken_over import TakenOver


class Conclusions:
    """The trials that have ended, and those that wait: for their other seeds, or for the same experiment elsewhere."""

    def __init__(self, context: StudyContext, screen: Screen, interrupt: Interrupt, going_on: GoingOn) -> None:
        question = context.question
        self._context, self._question = context, question
        self._screen = screen
        self._interrupt = interrupt
        self._going_on = going_on
        self._waiting: dict[int, tuple[Job, TrialOutcome]] = {}
        """Trials whose own training is complete, while their other seeds are trained."""
        self.replicates = Replicates.of(question.replication, context.folder)
        self.taken_over = TakenOver(context, screen)
        self.standings = Standings(context.folder, question.name, question.objectives)
        self.display = Display(question.name, question.trials, context.ledger.counted())
        self.count = 0
        """How many trials and repetitions were concluded by this driver."""
        self.disk_is_full = False

    def end(self, job: Job, outcome: TrialOutcome) -> None:
        """Take in the end of a trial's training: measure it, conclude the trial or have it wait for its other seeds."""
        if outcome.verdict == "complete":
            outcome = measured(job.run, self._question.objectives, outcome.message)
        elif outcome.verdict == "pruned" and job.asked is not None and self._going_on.keeps_states:
            job.record.end(outcome)
            outcome = TrialOutcome("pruned", self._going_on.stopped(job))
        has_other_seeds = job.asked is not None and self._question.replication.replicates > 1
        if outcome.verdict == "complete" and has_other_seeds:
            self._wait(job, outcome)
        else:
            self.conclude(job, outcome)
        for duplicate in self.taken_over.waiting_for(job):
            if outcome.verdict == "complete":
                self.end(duplicate, self.taken_over.link(duplicate, job.run))
            else:
                self.conclude(duplicate, outcome)

    def conclude(self, job: Job, outcome: TrialOutcome, errors: Sequence[float] = ()) -> None:
        """Write the outcome to the folder, then tell Optuna: if the driver dies in between, the next one finds it.

        `errors`: standard errors of its values where these are means over seeds.
        """
        job.record.end(outcome)
        write_trial(job.run, job.record)
        if outcome.verdict != "pruned" or not self._going_on.keeps_states:
            end_state(job.run, outcome.verdict)
        job.row.state, job.row.note = outcome.verdict, ""
        if outcome.verdict == "interrupted":
            self._left(job, outcome)
            return
        if job.asked is not None:
            self._tell(job, job.asked, outcome, errors)
        self.count += 1
        self._rank(job)
        self._screen.event(self._line(job, outcome))
        if job.asked is None:
            self.replicates.ended(job.record)
            self._conclude_if_over(job.record.number or 0)

    def leave_waiting(self) -> None:
        """Record that trials which wait for their other seeds were left; the next driver takes them up."""
        for job, _ in self._waiting.values():
            job.record.end(TrialOutcome("interrupted", "its other seeds are to be trained"))
            with suppress(DiskFull):
                write_trial(job.run, job.record)

    def board(self) -> Leaderboard:
        """All trials and repetitions so far, ranked."""
        return self.standings.board()

    def _wait(self, job: Job, outcome: TrialOutcome) -> None:
        """Have a trial's other seeds trained before it is concluded."""
        job.record.own = outcome.values[0] if len(outcome.values) == 1 else list(outcome.values)
        job.record.end(TrialOutcome("running"))
        write_trial(job.run, job.record)
        job.row.state = "other seeds"
        number = job.record.number or 0
        self._waiting[number] = (job, outcome)
        self.replicates.want(number, job.run.path)
        self._conclude_if_over(number)

    def _conclude_if_over(self, number: int) -> None:
        """Conclude a trial that waits, once all its seeds are trained."""
        if number not in self._waiting or not self.replicates.is_over(number):
            return
        job, own = self._waiting.pop(number)
        again = [record for _, record in readable_trials(replicate_folders(self._context.folder, number))]
        outcome, errors = mean_outcome(own, again)
        self.conclude(job, outcome, errors)

    def _left(self, job: Job, outcome: TrialOutcome) -> None:
        """Take in a trial that was interrupted: the next driver takes it up."""
        if job.asked is None:
            self.replicates.ended(job.record)
        line = f"trial {job.title} interrupted{_reason(outcome)}"
        if self._interrupt.requested or self.disk_is_full:
            self._screen.event(line)
        else:  # not requested: the disk is full, for this trial and all others
            self.disk_is_full = True
            self._screen.say(line)

    def _tell(self, job: Job, asked: AskedTrial, outcome: TrialOutcome, errors: Sequence[float]) -> None:
        self._context.ledger.tell(asked, outcome, errors)
        self.display.ended += not asked.came_back
        self._going_on.concluded(job, asked)

    def _rank(self, job: Job) -> None:
        if job.record.verdict == "complete":
            self.taken_over.note(job)
        self.standings.take(job.run, job.record)
        best = self.standings.best
        if best is not None:
            values = " ".join(map(number, best.values))
            self.display.best = f"{values} (trial {best.number}: {params_text(best.params)})"

    def _line(self, job: Job, outcome: TrialOutcome) -> str:
        named = zip(self._question.objectives, outcome.values, strict=False)
        detail = ", ".join(f"{name} {number(value)}" for name, value in named) or f"at step {job.row.progress.step}"
        if self._question.batch is not None and outcome.verdict == "complete":
            detail = "and to be compared"
        return f"trial {job.title} {outcome.verdict} {detail}{_reason(outcome)}"


def _reason(outcome: TrialOutcome) -> str:
    return f": {outcome.message}" if outcome.message else ""

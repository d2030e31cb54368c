"""What goes into a free slot next: a trial that was left, a new one, one that goes on, a repetition."""

from __future__ import annotations

from sweeplora.errors import UserError
from sweeplora.report.words import params_text
from sweeplora.rundir.record import TrialOutcome
from sweeplora.rundir.state import drop_state
from sweeplora.sweep import reuse
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.conclusions import Conclusions
from sweeplora.sweep.going_on import GoingOn
from sweeplora.sweep.jobs import Job, StudyContext, prepare, prepare_again, refused, refused_again
from sweeplora.sweep.replicates import Repetition
from sweeplora.sweep.running import Running
from sweeplora.sweep.screen import Row, Screen
from sweeplora.sweep.supervise import result_of


class Filling:
    """Fills the slots of a study, one trial or repetition at a time."""

    def __init__(
        self, context: StudyContext, screen: Screen, running: Running, conclusions: Conclusions, going_on: GoingOn
    ) -> None:
        self._context = context
        self._screen = screen
        self._running = running
        self._conclusions = conclusions
        self._going_on = going_on
        self._left = context.ledger.left()
        self._left += going_on.take_up(self._left)
        self._confirmed_at: int | None = None
        """How many had been concluded when the best few were last found to be confirmed."""

    @property
    def has_confirmed(self) -> bool:
        """Whether the best few are confirmed: no repetition of them is due, and nothing ended since."""
        return self._confirmed_at == self._conclusions.count

    def begin_next(self) -> bool:
        """Begin what is due; False if there is nothing for now."""
        if (due := self._conclusions.replicates.due()) is not None:
            self._repeat(due)
            return True
        asked = self._left.pop(0) if self._left else self._context.ledger.ask()
        if asked is not None:
            self._begin(asked)
            return True
        return self._go_on() or self._confirm()

    def _begin(self, asked: AskedTrial) -> None:
        job = self._prepared(asked, self._row(asked))
        if job is not None:
            self._start(job)

    def _go_on(self) -> bool:
        """Have the best trial that stopped at its rung go on; False if none does."""
        running = self._running.trials()
        asked = self._going_on.next(running)
        if asked is None:
            for number in self._going_on.second.to_stop(running):
                self._running.prune(number)
            return False
        row = self._row(asked)
        row.note = "(goes on)"
        job = self._prepared(asked, row)
        if job is not None and not self._take_result(job):
            self._running.launch(job)
        return True

    def _confirm(self) -> bool:
        """Repeat one of the best few with another seed; False if nothing is left to find out for now."""
        if self.has_confirmed or not self._going_on.is_over(self._running.trials()):
            return False
        due = self._conclusions.replicates.due_of_the_best(self._conclusions.board())
        if due is None:
            self._confirmed_at = self._conclusions.count
            return False
        self._repeat(due)
        return True

    def _repeat(self, due: Repetition) -> None:
        row = Row(f"{due.number}.{due.place}", "", "starting", None)
        self._conclusions.display.rows.append(row)
        self._conclusions.replicates.began(due)
        try:
            job = prepare_again(self._context, due, row)
        except UserError as error:
            self._conclusions.conclude(refused_again(self._context, due, row), TrialOutcome("failed", str(error)))
            return
        self._start(job)

    def _row(self, asked: AskedTrial) -> Row:
        """A new row on the screen for a trial."""
        row = Row(str(asked.number), params_text(asked.proposal.params), "starting", None)
        row.swept = asked.proposal.params
        self._conclusions.display.rows.append(row)
        return row

    def _prepared(self, asked: AskedTrial, row: Row) -> Job | None:
        """The job of a trial; None for one that cannot run, which is concluded as failed."""
        try:
            return prepare(self._context, asked, row)
        except UserError as error:
            self._conclusions.conclude(refused(self._context, asked, row), TrialOutcome("failed", str(error)))
            return None

    def _start(self, job: Job) -> None:
        """Launch a job, unless its folder or another run already holds the result."""
        if job.record.verdict not in ("running", "interrupted", "complete"):
            # A driver died after recording the verdict, before telling Optuna.
            self._conclusions.conclude(job, job.record.outcome)
        elif not self._take_result(job) and not (self._context.question.config["reuse"] and self._already_there(job)):
            self._running.launch(job)

    def _take_result(self, job: Job) -> bool:
        """Whether the training came to its end before a driver saw it: it is ended, or trained again if spoilt."""
        result = result_of(job.run)
        if result is None or result.status not in ("finished", "diverged"):
            return False
        if result.status == "diverged":
            self._conclusions.end(job, TrialOutcome("diverged", result.message))
            return True
        wrong = reuse.fault(job.run, self._context.question.objectives)
        if wrong is None:
            told = job.record.message if job.record.verdict == "complete" else result.message
            self._conclusions.end(job, TrialOutcome("complete", told))
            return True
        self._screen.event(f"trial {job.title} is trained again: {wrong}")
        drop_state(job.run)
        self._running.launch(job)
        return True

    def _already_there(self, job: Job) -> bool:
        """Whether the experiment ran before, or is running in another slot."""
        taken_over = self._conclusions.taken_over
        found = taken_over.find(job)
        if found is not None:
            self._conclusions.end(job, taken_over.link(job, found))
            return True
        if self._running.trains(job.signature):
            taken_over.wait(job)
            return True
        return False

"""Trials that are not trained because another run is the same experiment: one that finished, or one in another slot."""

from __future__ import annotations

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import TrialOutcome, write_trial
from sweeplora.sweep import reuse
from sweeplora.sweep.jobs import Job, StudyContext
from sweeplora.sweep.known_runs import KnownRuns
from sweeplora.sweep.screen import Screen


class TakenOver:
    """Finds finished runs of the same signature, and keeps the trials that wait for one in another slot."""

    def __init__(self, context: StudyContext, screen: Screen) -> None:
        self._runs, self._objectives = context.runs, context.question.objectives
        self._screen = screen
        self._known = KnownRuns(context.runs)
        self._duplicates: list[Job] = []

    def find(self, job: Job) -> RunDir | None:
        """A finished run of a job's experiment; those that cannot be used are said."""
        found = reuse.find(self._known.candidates(job.signature), self._objectives)
        for line in found.passed_over:
            self._screen.event(line)
        return found.run

    def link(self, job: Job, found: RunDir) -> TrialOutcome:
        """Take a finished run's files over into the job's folder."""
        reuse.link_files(found, job.run)
        job.record.found = str(found.path.relative_to(self._runs))
        return TrialOutcome("complete", f"known from {job.record.found}")

    def note(self, job: Job) -> None:
        """Take in a run that is complete."""
        self._known.add(job.run, job.signature)

    def wait(self, job: Job) -> None:
        """Have a job wait for the end of the same experiment in another slot."""
        job.row.state = "waiting"
        write_trial(job.run, job.record)
        self._duplicates.append(job)

    def waiting_for(self, job: Job) -> list[Job]:
        """The jobs that waited for this one's end; they wait no longer."""
        found = [one for one in self._duplicates if one.signature == job.signature]
        self._duplicates = [one for one in self._duplicates if one.signature != job.signature]
        return found

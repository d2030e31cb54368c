"""Trials that Optuna knows as pruned, and that may go on from their state: with pruner=rungs."""

from __future__ import annotations

from collections.abc import Collection

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import readable_trials, trial_folders
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.jobs import Job, StudyContext
from sweeplora.sweep.second_part import SecondPart, left_at_its_end


class GoingOn:
    """The second part of a study, and the trials as Optuna knows them that it may take up again."""

    def __init__(self, context: StudyContext) -> None:
        self._context = context
        self._asked: dict[int, AskedTrial] = {}
        question = context.question
        self.second = SecondPart(question.config["pruner"], question.objectives[0], question.replication)

    @property
    def keeps_states(self) -> bool:
        """Whether a trial that stops early may go on, so that its state is kept."""
        return self.second.rungs is not None

    def take_up(self, left: Collection[AskedTrial]) -> list[AskedTrial]:
        """Take in where earlier drivers left the trials that may go on or went on; `left`: those to be begun anyway.

        Returns the trials that came to their end meanwhile, and are still to be concluded.
        """
        if not self.keeps_states:
            return []
        self._asked = {asked.number: asked for asked in self._context.ledger.pruned()}
        lost = {asked.number for asked in left}
        at_their_end: list[AskedTrial] = []
        for folder, record in readable_trials(trial_folders(self._context.folder)):
            run, asked = RunDir(folder), self._asked.get(record.number or 0)
            may_go_on = asked is not None and record.number not in lost
            if asked is not None and may_go_on and left_at_its_end(run, record):
                at_their_end.append(asked)
                may_go_on = False
            self.second.note(run, record, may_go_on)
        return at_their_end

    def next(self, running: Collection[int]) -> AskedTrial | None:
        """The trial that goes on in a free slot, once nothing is left to propose; None if none does."""
        number = self.second.next(running)
        return None if number is None else self._asked[number]

    def stopped(self, job: Job) -> str:
        """Take in a trial that stopped early; returns how it stands at its rung."""
        self.second.note(job.run, job.record, True)
        return self.second.place(job.record.number or 0)

    def concluded(self, job: Job, asked: AskedTrial) -> None:
        """Take in how a trial ended, after Optuna was told."""
        self.second.note(job.run, job.record, True)
        self._asked[asked.number] = asked._replace(came_back=True)

    def is_over(self, running: Collection[int]) -> bool:
        """Whether every trial that should go on did, and came to its end."""
        return self.second.is_over(running)

    def close(self) -> None:
        """End the trials of a study that is over: none goes on any more."""
        trials = readable_trials(trial_folders(self._context.folder))
        self.second.close(trials, self._context.launcher.rules.grace_seconds)

"""Whether a running trial stops before its last step, by what it has measured so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeplora.rundir.metrics import Point
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.jobs import Job, StudyContext
from sweeplora.sweep.search.searchers import prunes
from sweeplora.sweep.second_part import SecondPart


class Pruning:
    """The pruner of a study: Optuna's, or the rungs."""

    def __init__(self, context: StudyContext, second: SecondPart) -> None:
        self._ledger = context.ledger
        self._objective = context.question.objectives[0]
        self._prunes = prunes(context.question.config["pruner"])
        self._second = second

    def stops(self, job: Job, points: Sequence[Point]) -> bool:
        """Report new values of the objective; True if the pruner stops the trial before its last step."""
        if job.asked is None or not self._prunes:
            return False
        last = job.record.steps or 0
        if self._second.rungs is not None:
            return self._is_at_rung(job.asked, last, points)
        given_up = False
        for point in points:
            if point.key == self._objective and point.step > 0 and math.isfinite(point.value):
                worse = self._ledger.report(job.asked, point.step, point.value)
                given_up = given_up or (worse and point.step < last)
        return given_up

    def _is_at_rung(self, asked: AskedTrial, last: int, points: Sequence[Point]) -> bool:
        """Whether a trial stops at its rung; the search learns its value there."""
        at_rung = [point for point in points if self._second.is_at_rung(asked.number, last, point)]
        if at_rung and math.isfinite(at_rung[0].value):
            self._ledger.report(asked, at_rung[0].step, at_rung[0].value)
        return bool(at_rung)

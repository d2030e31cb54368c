"""pruner=rungs in a study: trials that stopped at their rung, and which of them go on from their state."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import Point, read_metrics
from sweeplora.rundir.record import TrialOutcome, TrialRecord, write_trial
from sweeplora.rundir.scores import read_scores
from sweeplora.rundir.state import end_state, read_about
from sweeplora.sweep.replicates import ReplicateRules
from sweeplora.sweep.search.rungs import Reached, Rungs, best_of_each, ranked, rungs_of
from sweeplora.sweep.supervise import end_leftover, result_of

_OBJECTIVE_OF_TRIPLES = "val/loss"


class SecondPart:
    """Where every trial of a study stands with its rung; without rungs nothing stops and nothing goes on.

    First every trial runs to its rung: all are compared, and the search learns, at the same point. When nothing is left
    to propose, the best go on in every slot that is free: those that the rungs keep, and while one of them still runs,
    others that are not significantly worse than the best. The rungs keep the best share, and whatever its size a trial
    for each of those that `sweep.confirm` trains again: with `by`, the best of each value.
    """

    def __init__(self, pruner: Mapping[str, Any], objective: str, confirm: ReplicateRules) -> None:
        self.rungs: Rungs | None = rungs_of(pruner)
        self._objective = objective
        self._confirm = confirm
        self._reached: dict[int, Reached] = {}
        self._values: dict[int, Hashable] = {}
        """Of the trials at their rung: what `confirm` compares them by."""
        self._stopped: set[int] = set()
        """Trials that stopped at their rung and have their state."""
        self._stateless: set[int] = set()
        """Trials that stopped at their rung and whose state is gone: the study was over, or the file is damaged."""
        self._sent: set[int] = set()
        self._compared = 0
        self._hopeless: set[int] = set()

    def is_at_rung(self, number: int, steps: int | None, point: Point) -> bool:
        """Whether a trial stops here: it measured its objective at its rung for the first time."""
        if self.rungs is None or number in self._sent or steps is None or point.key != self._objective:
            return False
        return self.rungs.step(steps) <= point.step < steps

    def note(self, run: RunDir, record: TrialRecord, may_go_on: bool) -> None:
        """Take in a trial that stopped or ended; `may_go_on`: its search knows it as pruned."""
        if self.rungs is None or record.number is None:
            return
        self._stopped.discard(record.number)
        self._stateless.discard(record.number)
        if record.verdict not in ("complete", "pruned", "interrupted", "running"):
            self._reached.pop(record.number, None)  # it diverged or failed after its rung
            self._values.pop(record.number, None)
            return
        if record.number not in self._reached:
            reached = _reached(run, record, self.rungs, self._objective)
            if reached is not None:
                self._reached[record.number] = reached
                self._values[record.number] = self._confirm.value_of(record.params)
        if may_go_on and record.verdict != "complete" and record.number in self._reached:
            (self._stateless if read_about(run.state) is None else self._stopped).add(record.number)

    def next(self, busy: Collection[int]) -> int | None:
        """The stopped trial that goes on in a free slot, once nothing is left to propose; None if none does."""
        if self.rungs is None or not (self._stopped or self._stateless):
            return None
        if due := self._due():
            return self._send(due[0])
        if not self._still_needed(busy):
            return None
        if self._compared != len(self._reached):
            self._compared = len(self._reached)
            self._hopeless = self.rungs.hopeless(list(self._reached.values()))
        for one in ranked(list(self._reached.values())):
            if one.number in self._stopped and one.number not in self._hopeless and one.number not in self._sent:
                return self._send(one.number)
        return None

    def to_stop(self, busy: Collection[int]) -> list[int]:
        """Trials that went on beyond those that the rungs keep, once nothing else runs."""
        return [] if self.rungs is None or self._still_needed(busy) else [n for n in busy if n in self._sent]

    def is_over(self, busy: Collection[int]) -> bool:
        """Whether every trial that the rungs keep has gone on, and came to its end."""
        if self.rungs is None:
            return True
        return not self._still_needed(busy) and not self._due()

    def close(self, trials: Iterable[tuple[Path, TrialRecord]], grace_seconds: float) -> None:
        """End the trials of a study that is over: none goes on any more, so their states are removed.

        One that went on in an idle slot when a driver stopped is not needed to its end: it is pruned, as it was before.
        """
        for folder, record in trials if self.rungs is not None else ():
            run = RunDir(folder)
            if record.verdict in ("running", "interrupted"):
                end_leftover(run, record, grace_seconds)
                record.end(TrialOutcome("pruned", self.place(record.number or 0)))
                write_trial(run, record)
            if record.verdict == "pruned":
                end_state(run, "pruned")
        self._stopped.clear()

    def place(self, number: int) -> str:
        """How a stopped trial stands among those at their rung so far."""
        order = [one.number for one in ranked(list(self._reached.values()))]
        return f"at its rung {order.index(number) + 1} of {len(order)} so far" if number in order else "at its rung"

    def _send(self, number: int) -> int:
        self._sent.add(number)
        self._stopped.discard(number)
        self._stateless.discard(number)
        return number

    def _due(self) -> list[int]:
        """The trials that the rungs keep and that are to go on, best first.

        One without its state begins again, where nothing else of its value can come to an end.
        """
        best = best_of_each(list(self._reached.values()), self._compared_values(), self._confirm.top)
        return [n for n in self._kept() if n in self._stopped or (n in self._stateless and n in best)]

    def _kept(self) -> list[int]:
        """The trials that the rungs keep among those at their rung so far, best first."""
        assert self.rungs is not None
        reached = list(self._reached.values())
        return self.rungs.going_on(reached, self._compared_values(), self._confirm.top) if reached else []

    def _compared_values(self) -> Mapping[int, Hashable]:
        """What `confirm` compares trials by: of each value those that have a state or an end, or all if none has."""
        able = {value for number, value in self._values.items() if number not in self._stateless}
        return {n: value for n, value in self._values.items() if n not in self._stateless or value not in able}

    def _still_needed(self, busy: Collection[int]) -> bool:
        """Whether a trial runs that is on its way to its rung, or that the rungs keep."""
        kept = self._kept()
        return any(number not in self._sent or number in kept for number in busy)


def left_at_its_end(run: RunDir, record: TrialRecord) -> bool:
    """Whether a trial that its search knows as pruned went on, and its driver ended before it concluded the trial.

    Its training came to its end, or has no state to go on from.
    """
    if record.verdict not in ("running", "interrupted"):
        return record.verdict == "complete"
    result = result_of(run)
    ended = result is not None and result.status in ("finished", "diverged")
    return ended or record.own is not None or read_about(run.state) is None


def _reached(run: RunDir, record: TrialRecord, rungs: Rungs, objective: str) -> Reached | None:
    """A trial at its rung, None if it did not get there."""
    if record.steps is None or record.number is None:
        return None
    first = rungs.step(record.steps)
    series = read_metrics(run.metrics).get(objective, {})
    step = next((step for step in series if step >= first), None)
    if step is None:
        return None
    scores = read_scores(run) if objective == _OBJECTIVE_OF_TRIPLES else None
    at_step = scores.by_step.get(step, ()) if scores is not None else ()
    names = scores.triples if scores is not None else ()
    return Reached(record.number, series[step], dict(zip(names, at_step, strict=False)))

"""Repetitions of trials with other seeds: of every trial (`sweep.replicates`), or of the best few (`sweep.confirm`)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from sweeplora.errors import UserError
from sweeplora.overrides import parse
from sweeplora.report.leaderboard import Entry, Leaderboard
from sweeplora.report.statistics import ALPHA, early_alpha
from sweeplora.report.verdict import comparisons_of
from sweeplora.rundir.record import Scalar, TrialOutcome, TrialRecord, Verdict, readable_trials, replicate_folders

_FIRST_LOOK = 2
"""New seeds before the first look at whether trials have separated."""

_OVER: tuple[Verdict, ...] = ("complete", "failed", "diverged")


@dataclass(frozen=True)
class ReplicateRules:
    """How often trials are repeated.

    `replicates`: seeds of every trial, 1 for its own alone. `top`: how many of the best are trained again after the
    search (0: none), with up to `seeds` new seeds each; `by`: a searched key of which each of them has another value.
    `split`: a new seed also draws the held-out images and their noise anew.
    """

    replicates: int = 1
    top: int = 0
    seeds: int = 5
    by: str | None = None
    split: bool = False

    @property
    def alpha(self) -> float:
        """The error rate that the verdict may spend, after the looks before it."""
        looks = max(1, self.seeds - _FIRST_LOOK + 1)
        return early_alpha(looks, looks) if self.top else ALPHA

    @property
    def repetitions(self) -> int:
        """How often a trial is repeated at most."""
        return self.seeds if self.top else self.replicates - 1

    @property
    def confirmation(self) -> dict[str, Any]:
        """How the best few are confirmed."""
        return {"top": self.top, "seeds": self.seeds, "by": self.by, "split": self.split}

    def value_of(self, params: Mapping[str, Scalar]) -> Hashable:
        """What a trial is compared by when the best few are confirmed: its value of `by`, or all that was searched.

        A trial of a branch that has no `by` stands for itself and its kind: it is one value more.
        """
        if self.by is None:
            return frozenset(params.items())
        return (params[self.by],) if self.by in params else ()

    def words(self, config: Mapping[str, Any], place: int) -> tuple[str, ...]:
        """The overrides of the `place`-th repetition."""
        found = [f"seed={config['seed'] + place}"]
        if self.split:
            found.append(f"data.validation_seed={config['data']['validation_seed'] + place}")
        return tuple(found)


def read_replicate_rules(
    sweep: Mapping[str, Any], objectives: Sequence[str], searched: Sequence[str], words: Sequence[str] = ()
) -> ReplicateRules:
    """The rules of a `sweep` group. Raises UserError for values that make no sense, alone or together.

    `words`: the command line, where `sweep.confirm.top=0` turns off what a sweep file says of `confirm`.
    """
    replicates, confirm = sweep["replicates"], sweep["confirm"]
    _whole("replicates", replicates, 1)
    known = {"top": 0, "seeds": 5, "by": None, "split": False}
    if not isinstance(confirm, Mapping) or confirm.keys() - known.keys():
        raise UserError("sweep.confirm", confirm, "give {top: 3, seeds: 5}, and by and split if you like")
    given = {**known, **confirm}
    _whole("confirm.top", given["top"], 0)
    _whole("confirm.seeds", given["seeds"], _FIRST_LOOK)
    if not isinstance(given["split"], bool):
        raise UserError("sweep.confirm.split", given["split"], "give true or false")
    if given["top"] == 1:
        raise UserError("sweep.confirm.top", 1, "one trial alone is compared with nothing; give 2 or more, or 0")
    if given["top"] and replicates > 1:
        mend = "has no effect beside sweep.replicates, which repeats every trial; give sweep.confirm.top=0"
        raise UserError("sweep.confirm.top", given["top"], mend)
    if given["top"] and len(objectives) > 1:
        raise UserError("sweep.confirm.top", given["top"], "several objectives have no best few; give sweep.replicates")
    if given["by"] is not None and given["by"] not in searched:
        raise UserError("sweep.confirm.by", given["by"], f"is not searched; give one of {', '.join(searched)}")
    if given["top"] == 0:
        _refuse_without_the_best(given, {key for key in known if given[key] != known[key]}, _given_to_confirm(words))
    return ReplicateRules(replicates, given["top"], given["seeds"], given["by"], given["split"])


def _refuse_without_the_best(given: Mapping[str, Any], unusual: set[str], on_command_line: set[str]) -> None:
    """Refuse what is said of the best few where none is trained again."""
    for key in ("seeds", "by", "split"):
        if key in on_command_line or (key in unusual and "top" not in on_command_line):
            mend = (
                "has no effect with sweep.confirm.top=0, which trains none of the best again; give sweep.confirm.top=3"
            )
            raise UserError(f"sweep.confirm.{key}", given[key], mend)


def _given_to_confirm(words: Sequence[str]) -> set[str]:
    """The keys of `sweep.confirm` that a command line gives."""
    found: set[str] = set()
    for word in words:
        override = parse(word)
        group, _, key = override.key_or_group.rpartition(".")
        if group == "sweep.confirm":
            found.add(key)
        elif override.key_or_group == "sweep.confirm" and isinstance(value := override.value(), Mapping):
            found |= {str(one) for one in value}
    return found


def _whole(key: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"sweep.{key}", value, f"give a whole number of {least} or more")


class Repetition(NamedTuple):
    """A repetition that is due: of trial `number`, which is in `folder`, with its `place`-th further seed."""

    number: int
    place: int
    folder: Path


@dataclass
class Replicates:
    """The repetitions of a study: which were begun, which are over, which are due."""

    rules: ReplicateRules
    _state: dict[tuple[int, int], Verdict] = field(default_factory=dict)
    _queue: list[Repetition] = field(default_factory=list)
    _settled: set[int] = field(default_factory=set)
    _looked: int = 0

    @classmethod
    def of(cls, rules: ReplicateRules, study: Path) -> Replicates:
        """As earlier drivers of the study left them; what they did not finish is due again."""
        found = cls(rules)
        for _, record in readable_trials(replicate_folders(study)):
            if record.verdict in _OVER:
                found.ended(record)
        return found

    def began(self, due: Repetition) -> None:
        """A repetition has a folder now."""
        self._state[due.number, due.place] = "running"

    def ended(self, record: TrialRecord) -> None:
        """A repetition ended; one that was interrupted is due again."""
        place = (record.number or 0, record.replicate or 0)
        if record.verdict in _OVER:
            self._state[place] = record.verdict
        else:
            self._state.pop(place, None)

    def want(self, number: int, folder: Path) -> None:
        """Every seed of a trial, whose own training is complete."""
        for index in range(1, self.rules.replicates):
            if (number, index) not in self._state:
                self._queue.append(Repetition(number, index, folder))

    def is_over(self, number: int) -> bool:
        """Whether a trial was trained with all its seeds."""
        return all(self._state.get((number, index)) in _OVER for index in range(1, self.rules.replicates))

    def due(self) -> Repetition | None:
        """The next repetition of a trial that waits for it."""
        return self._queue.pop(0) if self._queue else None

    def due_of_the_best(self, board: Leaderboard) -> Repetition | None:
        """The next repetition of one of the best few, None if nothing is left to find out.

        Seeds go round by round. After a round that is complete, trials that have separated from the best are left
        alone; while one still runs, an idle slot takes the first of the next.
        """
        chosen = self._chosen(board)
        if len(chosen) < 2:
            return None
        numbers = [entry.number for entry in chosen]
        for index in range(1, self.rules.seeds + 1):
            if index > _FIRST_LOOK:
                self._look(board, numbers, index - 1)
            open_ = [entry for entry in chosen if entry.number not in self._settled]
            for entry in open_ if len(open_) > 1 else ():
                if (entry.number, index) not in self._state:
                    return Repetition(entry.number, index, entry.folder)
        return None

    def _chosen(self, board: Leaderboard) -> list[Entry]:
        """The best few at the search's own seed; a point that was proposed twice is one."""
        complete = sorted(
            (entry for entry in board.entries if entry.values), key=lambda entry: (entry.own, entry.number)
        )
        seen: set[Hashable] = set()
        chosen: list[Entry] = []
        for entry in complete if self.rules.top else ():
            value = self.rules.value_of(entry.params)
            if value not in seen and len(chosen) < self.rules.top:
                seen.add(value)
                chosen.append(entry)
        return chosen

    def _look(self, board: Leaderboard, numbers: Sequence[int], rounds: int) -> None:
        """Settle the trials that are worse than the best after so many complete rounds."""
        over = all(
            self._state.get((n, i)) in _OVER for n in numbers if n not in self._settled for i in range(1, rounds + 1)
        )
        if rounds <= self._looked or not over:
            return
        self._looked = rounds
        found = comparisons_of(board, early_alpha(rounds - _FIRST_LOOK + 1, self.rules.seeds - _FIRST_LOOK + 1))
        if found is not None:
            self._settled |= {other.point for other in found.others if other.separable and other.point in numbers}


def mean_outcome(own: TrialOutcome, again: Sequence[TrialRecord]) -> tuple[TrialOutcome, tuple[float, ...]]:
    """A trial's outcome over its own training and its repetitions, and the standard error of each objective.

    It diverged if any of them did; repetitions that failed for other reasons are left out.
    """
    diverged = [record for record in again if record.verdict == "diverged"]
    if diverged:
        seeds = ", ".join(str(record.replicate) for record in diverged)
        return TrialOutcome("diverged", f"with repetition {seeds}: {diverged[0].message}"), ()
    columns = list(zip(own.values, *(record.values for record in again if record.verdict == "complete"), strict=True))
    count = len(columns[0])
    message = f"mean of {count} seeds" + ("" if count == len(again) + 1 else f", {len(again) + 1 - count} failed")
    errors = tuple(stdev(column) / math.sqrt(count) if count > 1 else 0.0 for column in columns)
    return TrialOutcome("complete", message, tuple(map(fmean, columns))), errors

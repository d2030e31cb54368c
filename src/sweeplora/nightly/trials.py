"""A night's trainings for the driver of a study: which come next, how they ended, which are tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sweeplora.nightly.ended import Fault, fault_of
from sweeplora.nightly.plan import Training
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import TrialOutcome, TrialRecord, readable_trials, trial_folders, write_trial
from sweeplora.sweep.asked import AskedTrial
from sweeplora.sweep.search.proposals import Proposal

CONFIGURATION, SEED = "configuration", "seed"
"""The searched values of a night's trial, by which tables and the record tell trials apart."""

Held = Callable[[Training], bool]


class NightTrials:
    """The trainings of one part of a night, in order; what an earlier driver of the night finished is not repeated.

    `ended` is called with every training that came to an end. A training that is `held` does not begin for now: its
    configuration's canary has not been judged.
    """

    def __init__(
        self,
        folder: Path,
        trainings: Sequence[Training],
        ended: Callable[[Training], None],
        held: Held = lambda training: False,
    ) -> None:
        self._by_number = {training.number: training for training in trainings}
        records = records_of(folder)
        self._waiting = [one for one in trainings if not is_over(records, one.number)]
        self._counted = len(trainings) - len(self._waiting)
        self._folder, self._ended, self._held = folder, ended, held

    def left(self) -> list[AskedTrial]:
        """None: what was begun and not ended is asked for in its turn, and goes on from its state."""
        return []

    def counted(self) -> int:
        """How many had ended before this driver began."""
        return self._counted

    def ask(self) -> AskedTrial | None:
        """The next training that is not held."""
        ready = next((one for one in self._waiting if not self._held(one)), None)
        if ready is None:
            return None
        self._waiting.remove(ready)
        return AskedTrial(ready.number, Proposal(ready.words, {CONFIGURATION: ready.configuration, SEED: ready.seed}))

    def report(self, asked: AskedTrial, step: int, value: float) -> bool:
        """Nothing is stopped early."""
        return False

    def tell(self, asked: AskedTrial, outcome: TrialOutcome, errors: Sequence[float] = ()) -> None:
        """A training ended."""
        self._ended(self._by_number[asked.number])

    def pruned(self) -> list[AskedTrial]:
        """None stops early."""
        return []

    def drop(self, configuration: str) -> int:
        """Begin no further training of a configuration; returns how many are left out."""
        kept = [one for one in self._waiting if one.configuration != configuration]
        dropped = len(self._waiting) - len(kept)
        self._waiting = kept
        return dropped


def records_of(folder: Path) -> dict[int, tuple[RunDir, TrialRecord]]:
    """The run folders of a night with their records, by number."""
    return {
        record.number: (RunDir(path), record)
        for path, record in readable_trials(trial_folders(folder))
        if record.number is not None
    }


def is_over(records: Mapping[int, tuple[RunDir, TrialRecord]], number: int) -> bool:
    """Whether a training has ended for good, whatever its end."""
    return number in records and records[number][1].verdict in ("complete", "diverged", "failed")


def open_again(folder: Path, trainings: Sequence[Training]) -> list[Training]:
    """Mark the trainings that the machine ended as interrupted, so that they go on; returns them."""
    found = []
    for training in trainings:
        run, record = records_of(folder).get(training.number, (None, None))
        if run is None or record is None or record.verdict != "failed" or fault_of(record) is not Fault.MACHINE:
            continue
        write_trial(run, replace(record, verdict="interrupted"))
        found.append(training)
    return found

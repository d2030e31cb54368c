"""The slots of a study and the trainings in them: which are free, what runs, what has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from sweeplora.launch.slot import Slot
from sweeplora.rundir.disk import DiskFull
from sweeplora.rundir.metrics import Point
from sweeplora.rundir.record import TrialOutcome
from sweeplora.sweep.jobs import Job, StudyContext
from sweeplora.sweep.screen import Screen
from sweeplora.sweep.supervise import Place, Supervision


class _Busy(NamedTuple):
    """A slot in use."""

    slot: Slot
    job: Job
    supervision: Supervision


class Running:
    """The trainings that run, by the title of their trial or repetition."""

    def __init__(self, context: StudyContext, slots: Sequence[Slot], screen: Screen) -> None:
        self._launcher, self._module = context.launcher, context.module
        self._screen = screen
        self._free = list(slots)
        self._busy: dict[str, _Busy] = {}

    def __bool__(self) -> bool:
        return bool(self._busy)

    @property
    def has_free_slot(self) -> bool:
        """Whether another training could start now."""
        return bool(self._free)

    def trials(self) -> list[int]:
        """The numbers of the running trials, without repetitions."""
        return [job.asked.number for _, job, _ in self._busy.values() if job.asked is not None]

    def trains(self, signature: str) -> bool:
        """Whether an experiment runs in one of the slots."""
        return any(job.signature == signature for _, job, _ in self._busy.values())

    def launch(self, job: Job) -> None:
        """Start a job in the first free slot."""
        slot = self._free.pop(0)
        place = Place(self._launcher, slot, self._module)
        self._busy[job.title] = _Busy(slot, job, Supervision(job.run, job.record, place))
        job.row.state = "running"
        self._screen.event(f"trial {job.title} started: {job.row.params}")

    def ended(self, prunes: Callable[[Job, Sequence[Point]], bool]) -> Iterator[tuple[Job, TrialOutcome]]:
        """Take in what every training has done since the last pass; yields those that have ended, one by one.

        `prunes` is told what the others have measured, and says whether to stop them before their last step.
        """
        for title in list(self._busy):
            slot, job, supervision = self._busy[title]
            attempts = len(job.record.attempts)
            points, outcome = supervision.poll()
            job.row.progress = supervision.progress
            if len(job.record.attempts) > attempts:
                job.row.note = f"(attempt {attempts + 1})"
                self._screen.event(f"trial {title} is tried again: {job.record.attempts[-2].message}")
            if outcome is not None:
                del self._busy[title]
                self._free = sorted([*self._free, slot], key=lambda one: one.index)
                yield job, outcome
            elif not supervision.stopping and prunes(job, points):
                supervision.stop("pruned")

    def prune(self, number: int) -> None:
        """Stop a running trial before its last step."""
        self._busy[str(number)].supervision.stop("pruned")

    def interrupt(self, now: bool) -> None:
        """Ask every training to write its state and to stop; `now`: end them at once."""
        for _, _, supervision in self._busy.values():
            if now:
                supervision.kill()
            else:
                supervision.stop("interrupted")

    def ask_for_states(self) -> None:
        """Ask every training to write its state, and to go on."""
        for _, _, supervision in self._busy.values():
            supervision.ask_for_state()

    def abandon(self, reason: str) -> None:
        """Close the records of trainings that were terminated from elsewhere."""
        for _, _, supervision in self._busy.values():
            with suppress(DiskFull):
                supervision.abandon(reason)

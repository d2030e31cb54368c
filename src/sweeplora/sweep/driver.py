"""The main loop of a study: fill free slots, follow the trials, and conclude each that ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sweeplora.errors import UserError
from sweeplora.launch.launcher import Waits
from sweeplora.launch.slot import Slot
from sweeplora.report.leaderboard import Leaderboard, read_leaderboard
from sweeplora.sweep.conclusions import Conclusions
from sweeplora.sweep.filling import Filling
from sweeplora.sweep.going_on import GoingOn
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.jobs import StudyContext
from sweeplora.sweep.pruning import Pruning
from sweeplora.sweep.running import Running
from sweeplora.sweep.screen import Screen

_POLL_SECONDS = 0.1


class Driver:
    """The trials of one study while one driver lives."""

    def __init__(self, context: StudyContext, slots: Sequence[Slot], screen: Screen, interrupt: Interrupt) -> None:
        self._context = context
        self._screen = screen
        self._interrupt = interrupt
        self._going_on = GoingOn(context)
        self._pruning = Pruning(context, self._going_on.second)
        self._running = Running(context, slots, screen)
        self._conclusions = Conclusions(context, screen, interrupt, self._going_on)
        self._filling = Filling(context, screen, self._running, self._conclusions, self._going_on)
        self._late_checks = list(context.late_checks)
        self.refused: UserError | None = None
        """What a late check refused; nothing more is asked then."""
        self.display = self._conclusions.display

    def run(self, watch: Callable[[], None] = lambda: None) -> None:
        """Run until every trial has ended or the driver is asked to stop; calls `watch` on every pass."""
        while True:
            watch()
            self._heed_interrupt()
            while self._running.has_free_slot and self._asking and self._filling.begin_next():
                pass
            any_ended = False
            for job, outcome in self._running.ended(self._pruning.stops):
                self._conclusions.end(job, outcome)
                any_ended = True
            self._check_one()
            self._conclusions.standings.write_if_due()
            self._screen.show(self.display)
            if not self._running and (not self._asking or self.is_over or self._context.waits()):
                self._conclusions.leave_waiting()
                if self.is_over:
                    self._going_on.close()
                return
            if not any_ended:  # a slot that is free now has its next trial at once
                self._pause()

    def abandon(self) -> None:
        """Update the records of the running trials after their trainings were terminated."""
        self._running.abandon("its driver ended with an error")

    def leaderboard(self) -> Leaderboard:
        """The study's trials so far, best first."""
        question = self._context.question
        return read_leaderboard(self._context.folder, question.name, question.objectives)

    @property
    def is_over(self) -> bool:
        """Whether every trial ended, those that should go on from their rung did, and the best few are confirmed."""
        ended = self.display.ended >= self.display.total
        return ended and self._going_on.is_over(self._running.trials()) and self._filling.has_confirmed

    @property
    def _stopping(self) -> bool:
        return self._interrupt.requested or self._conclusions.disk_is_full

    @property
    def _asking(self) -> bool:
        return not self._stopping and self.refused is None

    def _heed_interrupt(self) -> None:
        """Say what the user asked for by a signal, and do it."""
        if (line := self._interrupt.news()) is not None:
            self._screen.say(line)
        if self._interrupt.take_state_request():
            self._running.ask_for_states()
        if self._stopping:
            self._running.interrupt(self._interrupt.now)

    def _check_one(self) -> None:
        """Make one of the checks that were too many, or took too long, to make before the first trial."""
        if not self._late_checks or not self._asking:
            return
        try:
            self._late_checks.pop(0)()
        except UserError as error:
            self.refused = error

    def _pause(self) -> None:
        launcher = self._context.launcher
        if isinstance(launcher, Waits):
            launcher.wait(_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)

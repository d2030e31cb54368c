"""Requests by signal: Ctrl-C, SIGTERM or a closed terminal stop at the next step, a second one now; SIGUSR1 does not.

SIGUSR1 asks the trainings to write their state: what a cluster sends some time before it takes a machine away.
"""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType


class Interrupt:
    """Context manager that counts the requests and restores the previous handlers on exit."""

    def __init__(self) -> None:
        self.requests = 0
        self._told = 0
        self._state_asked = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop at the next step."""
        return self.requests > 0

    @property
    def now(self) -> bool:
        """Whether to stop at once."""
        return self.requests > 1

    def news(self) -> str | None:
        """A line for the user about a request since the last call."""
        if self._told == min(self.requests, 2):
            return None
        self._told = min(self.requests, 2)
        return "stopping now" if self.now else "stopping at the next step; again to stop now"

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores a closed terminal
                self._before[number] = signal.signal(number, self._count)
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._ask_for_state)
        return self

    def take_state_request(self) -> bool:
        """Whether the trainings' states were asked for since the last call."""
        asked, self._state_asked = self._state_asked, False
        return asked

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask_for_state(self, number: int, frame: FrameType | None) -> None:
        self._state_asked = True

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.requests += 1
        if number == signal.SIGHUP:
            # The terminal is gone: discard further output instead of failing on it.
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            os.close(nowhere)

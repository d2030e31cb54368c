"""Requests to stop: Ctrl-C or SIGTERM once stops at the next step, twice stops now."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class Interrupt:
    """Counts the requests while it is entered, and puts the earlier handlers back afterwards."""

    def __init__(self) -> None:
        self.requests = 0
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop at the next step."""
        return self.requests > 0

    @property
    def now(self) -> bool:
        """Whether to stop at once."""
        return self.requests > 1

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.requests += 1

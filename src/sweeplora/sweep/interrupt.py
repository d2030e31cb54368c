"""Being asked to end: Ctrl-C or SIGTERM once ends in order, twice ends now."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class Halt:
    """Counts the requests while it is entered; the handlers of before come back afterwards."""

    def __init__(self) -> None:
        self.requests = 0
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    @property
    def asked(self) -> bool:
        """Whether to end in order."""
        return self.requests > 0

    @property
    def now(self) -> bool:
        """Whether to end at once."""
        return self.requests > 1

    def __enter__(self) -> Halt:
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

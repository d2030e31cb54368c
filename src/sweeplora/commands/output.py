"""Standard output and error that survive the loss of their reader: a closed pipe or full disk ends no training."""

from __future__ import annotations

import io
import os
import sys


class Lasting(io.TextIOWrapper):
    """Text to a file descriptor: the first write error is kept in `error`, and output from then on is discarded.

    The layers below are those of Python's own in C, which know at any moment what has been written: with a `write`
    in Python there, a Ctrl-C as it returned would have had the line written once more by the next flush.
    """

    error: OSError | None = None

    def __init__(self, descriptor: int) -> None:
        file = io.FileIO(descriptor, "w", closefd=False)
        super().__init__(io.BufferedWriter(file), errors="backslashreplace", line_buffering=True)

    def write(self, text: str, /) -> int:
        """Write, or discard what cannot be written; returns the number of characters handled."""
        try:
            return super().write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or discard what cannot be written."""
        try:
            super().flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        """Lead the descriptor to the null device, which takes what is still in the buffer too."""
        self.error = self.error or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


class Output:
    """The process's standard streams, made robust against write errors."""

    def __init__(self) -> None:
        """Open closed descriptors on the null device, so that no file gets their number; then replace both streams."""
        for descriptor in range(3):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        self._streams = [Lasting(descriptor) for descriptor in (1, 2)]
        sys.stdout, sys.stderr = self._streams

    def lost(self) -> str | None:
        """Why printed output was lost; None if all of it arrived, or if the reader closed the pipe."""
        sys.stdout.flush()
        sys.stderr.flush()
        error = self._streams[0].error
        return None if error is None or isinstance(error, BrokenPipeError) else (error.strerror or str(error))

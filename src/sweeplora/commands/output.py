"""Standard output and error that survive the loss of their reader: a closed pipe or full disk ends no training."""

from __future__ import annotations

import io
import os
import sys


class Lasting(io.FileIO):
    """A file descriptor that stores the first write error in `error` and discards output from then on."""

    error: OSError | None = None

    def write(self, data: object, /) -> int:
        """Write, or discard what cannot be written; returns the number of bytes handled."""
        content = memoryview(data)  # type: ignore[arg-type]
        if self.error is None:
            try:
                return super().write(content)
            except OSError as error:
                self.error = error
        return content.nbytes


class Output:
    """The process's standard streams, made robust against write errors."""

    def __init__(self) -> None:
        """Open closed descriptors on the null device, so that no file gets their number; then replace both streams."""
        for descriptor in range(3):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        self._streams = [Lasting(descriptor, "w", closefd=False) for descriptor in (1, 2)]
        out, err = (_text(stream) for stream in self._streams)
        sys.stdout, sys.stderr = out, err

    def lost(self) -> str | None:
        """Why printed output was lost; None if all of it arrived, or if the reader closed the pipe."""
        sys.stdout.flush()
        sys.stderr.flush()
        error = self._streams[0].error
        return None if error is None or isinstance(error, BrokenPipeError) else (error.strerror or str(error))


def _text(stream: Lasting) -> io.TextIOWrapper:
    buffered = io.BufferedWriter(stream)
    return io.TextIOWrapper(buffered, errors="backslashreplace", line_buffering=True)

"""Standard output and error that outlive their reader: a closed pipe or a full disk ends no training."""

from __future__ import annotations

import io
import os
import sys


class Lasting(io.FileIO):
    """A file descriptor whose failed writes are remembered in `error` and otherwise passed over."""

    error: OSError | None = None

    def write(self, data: object, /) -> int:
        """Write, or pass over what cannot be written; returns how many bytes are done with."""
        content = memoryview(data)  # type: ignore[arg-type]
        if self.error is None:
            try:
                return super().write(content)
            except OSError as error:
                self.error = error
        return content.nbytes


class Output:
    """The process's standard streams, made to last."""

    def __init__(self) -> None:
        """Open what is closed on the null device, lest a database gets its number; then replace both streams."""
        for descriptor in range(3):
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        self._streams = [Lasting(descriptor, "w", closefd=False) for descriptor in (1, 2)]
        out, err = (_text(stream) for stream in self._streams)
        sys.stdout, sys.stderr = out, err

    def lost(self) -> str | None:
        """Why something that was printed is lost; None where all arrived, or where its reader left of its own will."""
        sys.stdout.flush()
        sys.stderr.flush()
        error = self._streams[0].error
        return None if error is None or isinstance(error, BrokenPipeError) else (error.strerror or str(error))


def _text(stream: Lasting) -> io.TextIOWrapper:
    buffered = io.BufferedWriter(stream)
    return io.TextIOWrapper(buffered, errors="backslashreplace", line_buffering=True)

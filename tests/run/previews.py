"""Previews of a user's own, before which the training is killed."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from sweeplora.training.previews.settings import Sample


@dataclass(frozen=True)
class Struck(Sample):
    """The previews themselves; with a file `struck` in its run folder the process is killed before the last ones."""

    def due(self, epoch: int, epochs: int) -> bool:
        """As without, if the process lives."""
        struck = Path("/proc/self/fd/1").readlink().with_name("struck")
        if epoch == epochs and struck.exists():
            struck.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().due(epoch, epochs)

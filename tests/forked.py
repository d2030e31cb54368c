"""Work done in another process, for tests of what several do at once."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_a_process(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; returns its id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid

"""Runs a training in segments of steps, so that both sides of a comparison take turns on the same machine.

Imports only the standard library, since it also runs in the other side's environment.
"""

from __future__ import annotations

import json
import resource
import sys
import time


class Pace:
    """Counts steps; after the warm-up and then after every segment, reports the time and waits for the next turn."""

    def __init__(self, warmup: int, segment: int) -> None:
        self._segment = segment
        self._left = warmup
        self._started, self._cpu = time.perf_counter(), time.process_time()
        self._output = sys.stdout
        sys.stdout = sys.stderr  # what the training prints must not mix with the reports

    def step(self) -> None:
        """Count one optimizer step. Exits the process if the parent has closed the input."""
        self._left -= 1
        if self._left > 0:
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        report = {
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": time.process_time() - self._cpu,
            "memory_mib": peak,
        }
        print(json.dumps(report), file=self._output, flush=True)
        if not sys.stdin.readline():
            sys.exit(0)
        self._left = self._segment
        self._started, self._cpu = time.perf_counter(), time.process_time()

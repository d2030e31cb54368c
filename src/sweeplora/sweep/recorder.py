"""The mirror's process beside a study or a run: started, watched, told to finish, never waited for in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.screen import Screen

_NICE = 10
_FINISH_SECONDS = 120.0
MIRROR = "sweeplora.record"


class Recorder:
    """`python -m sweeplora.record` with a pipe whose end tells it to catch up and finish."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MIRROR, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                start_new_session=True,
            )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)

    def finish(self, given_up: Callable[[], bool]) -> str | None:
        """Wait until the record is complete; returns a warning line, or None when all is recorded."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        waited = 0.0
        while waited < _FINISH_SECONDS and not given_up():
            try:
                code = self._process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                waited += 0.1
                continue
            return None if code == 0 else f"the record is behind (exit code {code}); see {self._log}"
        self.kill()
        return f"the record is behind; `python -m sweeplora sync` catches up (see {self._log})"

    def kill(self) -> None:
        """End it now; the next command catches up."""
        self._process.kill()
        self._process.wait()


def start_recorder(config: Mapping[str, Any], arguments: Sequence[str], log: Path) -> Recorder | None:
    """Start the mirror where tracking is on."""
    return Recorder(arguments, log) if config["tracking"]["enabled"] else None


def finish_recorder(recorder: Recorder | None, screen: Screen, interrupt: Interrupt) -> None:
    """Let the mirror catch up, saying so; a second request to end leaves the rest to the next command."""
    if recorder is None:
        return
    if interrupt.now:
        recorder.kill()
        return
    screen.say("recording...")
    warning = recorder.finish(given_up=lambda: interrupt.now)
    if warning is not None:
        screen.say(warning)

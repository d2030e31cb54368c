"""The mirror process of a study or a run: started, restarted when it dies, told to finish."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.report.words import near
from sweeplora.rundir.disk import remove_leftovers
from sweeplora.sweep.interrupt import Interrupt
from sweeplora.sweep.screen import Screen

_NICE = 10
_FINISH_SECONDS = 120.0
_MOST_STARTS = 5
_SECONDS_BETWEEN_STARTS = 5.0
_LONG_LIFE = 60.0
"""Seconds after which a mirror's death says nothing about the next one's: it may be started as often again."""

_BEHIND = 3
"""Exit code of a mirror whose store did not answer to the end."""

_IN_THE_BACKGROUND = "the record is finished in the background; `python -m sweeplora sync` looks after it"

_NOTE = "note: "
"""Begins a line of the mirror's log that is meant for the user."""

MIRROR = "sweeplora.record"


class Recorder:
    """`python -m sweeplora.record` with a pipe; closing the pipe tells it to catch up and finish."""

    _process: subprocess.Popen[bytes]
    _started: float
    _is_dead: bool

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments = arguments
        self._log = log
        self._starts = 0
        self._begun = log.stat().st_size if log.exists() else 0
        self._start()

    @property
    def pid(self) -> int:
        """The process id of the mirror."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the mirror's process runs."""
        return self._process.poll() is None

    def revive(self) -> None:
        """Restart the mirror if it died, a few times at most in a row; it continues where it stopped."""
        if self._process.poll() in (None, 0):
            return
        now = time.monotonic()
        if not self._is_dead and now > self._started + _LONG_LIFE:
            self._starts = 0
        self._is_dead = True
        if self._starts < _MOST_STARTS and now >= self._started + _SECONDS_BETWEEN_STARTS:
            self._start()

    def finish(self, given_up: Callable[[], bool]) -> Finish:
        """Wait until the record is complete."""
        if (self._process.poll() or 0) < 0:  # killed: a new mirror sends the rest
            self._start()
        self.leave()
        waited = 0.0
        while waited < _FINISH_SECONDS and not given_up():
            try:
                code = self._process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                waited += 0.1
                continue
            warning = f"{_said(self._log) or f'the record is behind (exit code {code})'}; see {near(self._log)}"
            return Finish(True, None, self._notes()) if code == 0 else Finish(code == _BEHIND, warning, self._notes())
        return Finish(True, _IN_THE_BACKGROUND)

    def _notes(self) -> tuple[str, ...]:
        """Lines for the user that the mirror has logged since this command began."""
        with self._log.open("rb") as stream:
            stream.seek(self._begun)
            lines = stream.read().decode(errors="replace").splitlines()
        return tuple(dict.fromkeys(line.removeprefix(_NOTE) for line in lines if line.startswith(_NOTE)))

    def leave(self) -> None:
        """Tell the mirror to catch up and exit, without waiting for it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def _start(self) -> None:
        if self._starts:
            remove_leftovers(self._log.parent)  # of the mirror that died
        environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}
        self._starts += 1
        self._started = time.monotonic()
        self._is_dead = False
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MIRROR, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                start_new_session=True,
            )
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)


def _said(log: Path) -> str:
    """The mirror's last log line if it is about the record, else empty."""
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines and lines[-1].startswith("the record of ") else ""


class Finish(NamedTuple):
    """How recording ended: whether everything will be recorded, a warning, and the mirror's notes."""

    kept: bool
    warning: str | None
    notes: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to record."""
        return self.kept and self.warning is None


def start_recorder(config: Mapping[str, Any], arguments: Sequence[str], log: Path) -> Recorder | None:
    """Start the mirror if tracking is on."""
    return Recorder(arguments, log) if config["tracking"]["enabled"] else None


def revive_recorder(recorder: Recorder | None) -> None:
    """Keep the mirror, if there is one, running."""
    if recorder is not None:
        recorder.revive()


def is_recording(recorder: Recorder | None) -> bool:
    """Whether there is a mirror, and its process runs."""
    return recorder is not None and recorder.is_running


def finish_recorder(recorder: Recorder | None, screen: Screen, interrupt: Interrupt) -> Finish:
    """Wait for the mirror to catch up, and say what it has to say.

    After a second request to stop it finishes in the background, so that the record does not stay at `running`.
    """
    if recorder is None:
        return Finish(True, None)
    if interrupt.now:
        recorder.leave()
        return Finish(True, _IN_THE_BACKGROUND)
    screen.say("recording...")
    finish = recorder.finish(given_up=lambda: interrupt.now)
    for note in finish.notes:
        screen.say(note)
    if finish.warning is not None:
        screen.say(finish.warning)
    return finish

"""The mirror as a separate process: look every few seconds, retry while a server is down, exit with the parent."""

from __future__ import annotations

import argparse
import gc
import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from sweeplora.record.location import have_home, tracking_of
from sweeplora.record.mirror import Mirror
from sweeplora.record.provenance.session import record_session
from sweeplora.record.store.subject import one_line
from sweeplora.rundir.folder import SINGLE
from sweeplora.rundir.lock import hold, is_held

TICK = 2.0
_LONGEST_WAIT = 15.0
"""Seconds between two attempts at a store that does not answer."""

_SHARE = 250.0
_LONGEST_PAUSE = 15.0
"""Seconds to pause for one that a look took of the processor, and at most: the training needs it more."""

_ORPHANS_SECONDS = 12.0
"""Trainings whose driver died end within ten seconds, at a checkpoint."""

_ATTEMPTS_IF_REFUSED = 3
BEHIND = 3
"""Exit code: the store did not answer to the end; the folders know what is missing."""

UNKEPT = 4
"""Exit code: waiting would not help; a package is missing or the store refuses."""


class ParentPipe:
    """Signals when to finish: standard input was closed, or the parent is gone."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self.closed = False

    def wait(self, seconds: float) -> bool:
        """Wait up to the given time; return whether to finish."""
        deadline = time.monotonic() + seconds
        while not self.closed and (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([sys.stdin], [], [], min(left, 1.0))
            ended = bool(readable) and os.read(sys.stdin.fileno(), 4096) == b""
            self.closed = ended or os.getppid() != self._parent
        return self.closed


def follow(mirror: Mirror, pipe: ParentPipe, patience: float) -> int:
    """Mirror until told to finish, then send the rest; returns the exit code: 0, BEHIND or UNKEPT.

    `patience`: how long, in seconds, to keep retrying an unresponsive store after that.
    """
    with _sole(mirror.path, pipe):
        wait = 0.0
        gc.freeze()
        gc.enable()
        while not pipe.wait(wait):
            began = time.process_time()
            if _attempt(mirror) is None:
                wait = max(TICK, min(_LONGEST_PAUSE, _SHARE * (time.process_time() - began)))
            else:
                wait = max(TICK, min(_LONGEST_WAIT, 1.5 * wait))
        if mirror.folders.is_orphaned():
            _watch_orphans(mirror)
        mirror.look_anew()
        return _finish(mirror, patience)


def _sole(folder: Path, pipe: ParentPipe) -> BinaryIO:
    """Take the lock that makes this the folder's only mirror; wait for the mirror of a driver that just died."""
    lock = folder / "mirror.lock"
    while is_held(lock):
        pipe.wait(1.0)
        time.sleep(0.05)
    return hold(lock)


def _attempt(mirror: Mirror, abandoned: bool = False) -> Exception | None:
    """Run one turn; return what went wrong."""
    from sweeplora.record.store.client import TROUBLE

    try:
        mirror.turn(abandoned)
    except TROUBLE as error:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} recording waits: {one_line(error)}\n")
        sys.stderr.flush()
        return error
    return None


def _watch_orphans(mirror: Mirror) -> None:
    deadline = time.monotonic() + _ORPHANS_SECONDS
    while time.monotonic() < deadline:
        _attempt(mirror)
        time.sleep(TICK)


def _finish(mirror: Mirror, patience: float) -> int:
    from sweeplora.record.store.client import is_refusal

    deadline = time.monotonic() + patience
    attempts = 0
    while (trouble := _attempt(mirror, abandoned=True)) is not None:
        attempts += 1
        name, why = mirror.path.name, one_line(trouble)
        if is_refusal(trouble) and attempts == _ATTEMPTS_IF_REFUSED:
            mend = "`python -m sweeplora sync` records it once that is mended"
            sys.stdout.write(f"the record of {name} is not kept: {why}; {mend}\n")
            return UNKEPT
        if time.monotonic() > deadline and not is_refusal(trouble):
            mend = "nothing is lost: the next command or `python -m sweeplora sync` catches up"
            sys.stdout.write(f"the record of {name} is behind ({why}); {mend}\n")
            return BEHIND
        time.sleep(1.0)
    return 0


def read_config(folder: Path, given: Path | None, pipe: ParentPipe) -> dict[str, Any] | None:
    """The given config, or the config of the first run that appears in the folder."""
    while True:
        found = [given] if given else sorted([*folder.glob("config.yaml"), *folder.glob("*/config.yaml")])
        if found:
            config = yaml.safe_load(found[0].read_text())
            assert isinstance(config, dict), "a resolved config is a mapping"
            return config
        if pipe.wait(0.2):
            return None


def main(arguments: Sequence[str]) -> int:
    """`python -m sweeplora.record`: mirror one study or single run until standard input is closed."""
    parser = argparse.ArgumentParser(prog="python -m sweeplora.record", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="the folder of all runs")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--study", help="a sweep's name")
    which.add_argument("--single", help="a single run's name")
    parser.add_argument("--config", type=Path, help="a resolved config; default: the first run's")
    parser.add_argument("--patience", type=float, default=20.0, help="seconds to try at the end (default 20)")
    given = parser.parse_args(arguments)
    have_home()
    folder = given.runs / given.study if given.study else given.runs / SINGLE / given.single
    pipe = ParentPipe()
    config = read_config(folder, given.config, pipe)
    if config is None or not config["tracking"]["enabled"]:
        return 0
    tracking = tracking_of(config, given.runs)
    record_session(folder, given.runs, config, tracking.workspace_cap_mib if tracking.workspace else None)
    return follow(Mirror(folder, tracking), pipe, given.patience)

"""Running the sweep tests' command line as a real process, and looking for processes that it left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.sweep.forked_driver import Driver

PATIENCE_SECONDS = 300.0
"""Until a test gives up on what does not come: no measure of speed, on a machine that does much else."""

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def environment(behaviour: dict[str, Any] | None = None) -> dict[str, str]:
    """The environment in which `python -m drive` finds everything, the stand-in behaving as asked."""
    paths = os.pathsep.join([str(ROOT / "src"), str(HERE)])
    quick = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "STANDIN": json.dumps(behaviour or {})}
    return os.environ | quick


def start(folder: Path, *words: str, behaviour: dict[str, Any] | None = None, tracking: str = "none") -> Driver:
    """Start the command in `folder`."""
    return Driver(folder, (f"tracking={tracking}", *words), environment(behaviour))


def command(folder: Path, *words: str, behaviour: dict[str, Any] | None = None) -> tuple[int, str, str]:
    """Run the command to its end: exit code, standard output, standard error."""
    process = start(folder, *words, behaviour=behaviour)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return process.wait(), output, errors


def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; AssertionError when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def living_in(folder: Path) -> list[int]:
    """Process ids whose working directory is `folder`: the driver, the parent that forks, the trainings."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == folder and " Z " not in (entry / "stat").read_text():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def records(folder: Path, study: str = "s") -> list[dict[str, Any]]:
    """Every trial.json of a study, by number."""
    paths = sorted((folder / "runs" / study).glob("*/trial.json"))
    return [json.loads(path.read_text()) for path in paths]


def verdicts(folder: Path, study: str = "s") -> list[str]:
    """How the trials of a study ended, by number."""
    return [record["verdict"] for record in records(folder, study)]

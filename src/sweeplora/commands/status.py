"""Show what runs at this moment, from any terminal: where, how far, since when, the best so far."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeplora.commands import Parser
from sweeplora.commands.place import split_runs
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

_EXAMPLE = "python -m sweeplora status rank_alpha --watch"
_SECONDS = 2.0
_HOME, _END_OF_LINE, _BELOW = "\033[H", "\033[K", "\033[J"


def main(words: list[str]) -> int:
    """Print what runs, or the state of one study or run; returns 0."""
    from sweeplora.report.find import find_folder

    parser = Parser("status", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="as JSON, times in seconds")
    parser.add_argument("--watch", action="store_true", help="again every two seconds, until nothing runs or Ctrl-C")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a study or a run, running or not; runs=FOLDER")
    asked = parser.parse(words)
    runs, names = split_runs(asked.words)
    if len(names) > 1:
        raise UserError("status", names[1], "one study or run at a time")
    folder = find_folder(runs, names[0]) if names else None
    redrawn = asked.watch and not asked.json and _moves_its_cursor()
    if redrawn:
        print("\n" * (shutil.get_terminal_size().lines - 1), end="")  # what was on the screen stays above
    while True:
        facts = _facts(runs, folder)
        lines = [json_text(facts, indent=None if asked.watch else 1)] if asked.json else _shown(facts, runs)
        if redrawn:
            print(_HOME, *(f"{line}{_END_OF_LINE}\n" for line in lines), _BELOW, sep="", end="", flush=True)
        else:
            print("\n".join(lines), flush=True)
        if not asked.watch or not _runs(facts):
            return 0
        if not redrawn and not asked.json:
            print()
        time.sleep(_SECONDS)


def _moves_its_cursor() -> bool:
    """Whether standard output is a terminal that follows escape sequences."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _facts(runs: Path, folder: Path | None) -> dict[str, Any]:
    """The named study or run; without a name all that run, or else the study that ran last."""
    from sweeplora.report.status import run_facts, study_facts
    from sweeplora.report.summaries import run_summary, study_summary
    from sweeplora.rundir.places import is_study, single_folders, study_folders

    now = time.time()
    if folder is not None and not is_study(folder):
        return {"time": now, "studies": [], "runs": [run_facts(run_summary(folder, measure=False))]}
    found = [folder] if folder is not None else study_folders(runs)
    studies = [study_summary(path, measure=False) for path in found if folder is not None or _has_driver(path)]
    singles = [] if folder is not None else [run_summary(path, measure=False) for path in single_folders(runs)]
    singles = [run for run in singles if run.state == "running"]
    if not studies and not singles and found:
        studies = [study_summary(max(found, key=_last_change), measure=False)]
    return {
        "time": now,
        "studies": [study_facts(study, now) for study in studies],
        "runs": [run_facts(run) for run in singles],
    }


def _has_driver(study: Path) -> bool:
    from sweeplora.rundir.lock import is_held

    lock = study / "driver.lock"
    return lock.exists() and is_held(lock)


def _last_change(study: Path) -> float:
    from sweeplora.rundir.record import STUDY

    return (study / STUDY).stat().st_mtime


def _runs(facts: Mapping[str, Any]) -> bool:
    return any(one["state"] == "running" for one in (*facts["studies"], *facts["runs"]))


def _shown(facts: Mapping[str, Any], runs: Path) -> list[str]:
    from sweeplora.report.status import shown_run, shown_study
    from sweeplora.report.terminal_board import terminal_width

    width = terminal_width()
    blocks = [shown_study(study, facts["time"], width) for study in facts["studies"]]
    blocks += [shown_run(run, facts["time"], width) for run in facts["runs"]]
    if not blocks:
        return [f"nothing runs, and there are no studies in {runs} yet"]
    lines = [] if _runs(facts) else ["nothing runs", ""]
    for block in blocks:
        lines += [*block, ""]
    return lines[:-1]

"""List the studies and single runs, or the trials of a study: states, values, sizes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeplora.commands import Parser
from sweeplora.commands.place import runs_if_given, split_runs
from sweeplora.errors import UserError
from sweeplora.report.plain_json import json_text

if TYPE_CHECKING:
    from sweeplora.report.summaries import RunSummary, StudySummary

_EXAMPLE = "python -m sweeplora list rank_alpha"


def main(words: list[str]) -> int:
    """Print what there is; returns 0."""
    from sweeplora.sweep.startup import without_collections

    with without_collections():  # what is read stays until it is printed; rescanning it is a tenth of the time
        return _list(words)


def _list(words: list[str]) -> int:
    from sweeplora.report.summaries import run_summary, study_summary
    from sweeplora.rundir.places import is_study, single_folders, study_folders

    parser = Parser("list", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="as JSON, sizes in bytes and times in seconds")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a study, to list its trials; runs=FOLDER")
    asked = parser.parse(words)
    runs, names = runs_if_given(asked.words)
    if len(names) > 1:
        raise UserError("list", names[1], "one study at a time")
    if names:
        from sweeplora.report.find import find_folder

        folder = find_folder(runs, names[0])
        if is_study(folder):
            study = study_summary(folder)
            _print(_of_study(study, asked.json), [run.folder for run in study.runs])
        else:
            _print(_of_everything([], [run_summary(folder)], asked.json), [folder])
        return 0
    split_runs(asked.words)
    studies = [study_summary(folder) for folder in study_folders(runs)]
    _print(_of_everything(studies, [run_summary(folder) for folder in single_folders(runs)], asked.json, runs))
    return 0


def _print(lines: Sequence[str], runs: Sequence[Path] = ()) -> None:
    """Print a list; then, on standard error, which lines of these runs cannot be read."""
    from sweeplora.report.unread import unread

    print("\n".join(lines))
    for line in unread(runs):
        print(line, file=sys.stderr)


def _of_everything(
    studies: Sequence[StudySummary], singles: Sequence[RunSummary], as_json: bool, runs: Path | None = None
) -> list[str]:
    from sweeplora.report.summaries import columns, shown_size, shown_time
    from sweeplora.report.terminal_board import narrowed, terminal_width
    from sweeplora.report.words import number

    if as_json:
        told = {"studies": [_study_json(study) for study in studies], "runs": [_run_json(run) for run in singles]}
        return [json_text(told, indent=1)]
    if not studies and not singles:
        return [f"there are no runs in {runs} yet"]
    lines = []
    if studies:
        rows = [["study", "state", "trials", "best", "size", "started"]]
        for study in studies:
            best = study.best
            value = "-" if best is None else f"{number(best.values[0])} (trial {best.number})"
            rows.append(
                [study.name, study.state, _counts(study), value, shown_size(study.size), shown_time(study.started)]
            )
        lines += columns(narrowed(rows, terminal_width(), ("started", "size")))
    if singles:
        rows = [["single run", "state", "value", "size", "started"]]
        for run in singles:
            value = number(run.values[0]) if run.values else "-"
            rows.append([run.folder.name, run.state, value, shown_size(run.size), shown_time(run.started)])
        shown = columns(narrowed(rows, terminal_width(), ("started", "size")))
        lines += ["", *shown] if lines else shown
    return lines


def _counts(study: StudySummary) -> str:
    told = ", ".join(f"{count} {state}" for state, count in study.counts.items())
    missing = (study.planned or 0) - len(study.trials)
    return f"{told or 'none'}{f', {missing} to come' if missing > 0 and study.state != 'finished' else ''}"


def _of_study(study: StudySummary, as_json: bool) -> list[str]:
    from sweeplora.report.summaries import columns, display_name, shown_size
    from sweeplora.report.terminal_board import narrowed, terminal_width
    from sweeplora.report.words import clock, number

    if as_json:
        return [json_text({**_study_json(study), "trials": [_run_json(run) for run in study.runs]}, indent=1)]
    keys = list(dict.fromkeys(key for run in study.runs for key in run.params))
    shown_keys = [key.rpartition(".")[2] if _is_unique(key, keys) else key for key in keys]
    rows = [["trial", "state", *study.objectives, *shown_keys, "time", "size", "signature"]]
    for run in study.runs:
        values = run.values if len(run.values) == len(study.objectives) else [None] * len(study.objectives)
        params = [number(run.params[key], "null") if key in run.params else "" for key in keys]
        cells = [display_name(run).rpartition("/")[2], run.state, *map(number, values), *params]
        rows.append([*cells, clock(run.seconds), shown_size(run.size), run.signature or "-"])
    return columns(narrowed(rows, terminal_width(), ("signature", "size", "time")))


def _is_unique(key: str, keys: Sequence[str]) -> bool:
    return sum(other.rpartition(".")[2] == key.rpartition(".")[2] for other in keys) == 1


def _study_json(study: StudySummary) -> dict[str, Any]:
    told = {key: value for key, value in asdict(study).items() if key != "runs"}
    best = study.best
    return {
        **told,
        "folder": str(study.folder),
        "counts": study.counts,
        "best": None if best is None else {"trial": best.number, "values": best.values},
    }


def _run_json(run: RunSummary) -> dict[str, Any]:
    return {**asdict(run), "folder": str(run.folder)}

"""The leaderboard of a study, read from its run folders: one ranking of its trials in several formats."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from sweeplora.report.words import clock, number
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import (
    DamagedRecord,
    Scalar,
    TrialRecord,
    Verdict,
    read_result,
    readable_trials,
    trial_folders,
)


@dataclass(frozen=True)
class Entry:
    """One trial of a leaderboard; `values` are its objectives, empty unless it completed. Times are in seconds."""

    number: int
    verdict: Verdict
    values: tuple[float, ...]
    params: Mapping[str, Scalar]
    seconds: float
    ended: float | None
    trained: bool
    """Whether it was trained here; False for a trial that was taken from an earlier run."""
    folder: Path
    weights: Path | None
    """The last weights, where they are still there."""
    message: str


@dataclass(frozen=True)
class Leaderboard:
    """The trials of a study, best first; trials without a value come last, by number.

    Objectives are minimised. With several objectives, trials rank by how many others dominate them (are at least as
    good in every objective and better in one), then by the objectives in order, then by number.
    """

    study: str
    objectives: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def best(self) -> Entry | None:
        """The first completed trial."""
        return next((entry for entry in self.entries if entry.values), None)

    def counts(self) -> dict[Verdict, int]:
        """Verdict -> number of trials that ended with it."""
        counts: dict[Verdict, int] = {}
        for entry in self.entries:
            counts[entry.verdict] = counts.get(entry.verdict, 0) + 1
        return counts


def read_leaderboard(folder: Path, study: str, objectives: tuple[str, ...]) -> Leaderboard:
    """The leaderboard of `runs/<study>/`; trials with a damaged record are left out."""
    return make_leaderboard(study, objectives, readable_trials(trial_folders(folder)))


def make_leaderboard(
    study: str, objectives: tuple[str, ...], trials: Iterable[tuple[Path, TrialRecord]]
) -> Leaderboard:
    """The leaderboard of trials, each with its run folder."""
    return ranked(study, objectives, [make_entry(folder, record, len(objectives)) for folder, record in trials])


def ranked(study: str, objectives: tuple[str, ...], entries: Sequence[Entry]) -> Leaderboard:
    """The leaderboard of trials whose entries are known."""
    complete = [entry for entry in entries if entry.values]
    dominated = dict(zip((entry.folder for entry in complete), _dominators(complete), strict=True))

    def rank(entry: Entry) -> tuple[float, tuple[float, ...], int]:
        return (dominated.get(entry.folder, math.inf), entry.values, entry.number)

    return Leaderboard(study, objectives, tuple(sorted(entries, key=rank)))


def front(board: Leaderboard) -> list[Entry]:
    """The complete trials that no other trial dominates, best first."""
    complete = [entry for entry in board.entries if entry.values]
    return [entry for entry, count in zip(complete, _dominators(complete), strict=True) if count == 0]


def write_leaderboard(folder: Path, board: Leaderboard) -> None:
    """Write `leaderboard.csv` and `leaderboard.md` to the study's folder."""
    header, rows = table(board)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    write_whole(folder / "leaderboard.csv", text.getvalue())
    write_whole(folder / "leaderboard.md", f"# {board.study}\n\n{markdown(header, rows)}\n")


def table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Header and rows, every cell a string; folder and weights are the last two columns."""
    keys = list(dict.fromkeys(key for entry in board.entries for key in entry.params))
    header = ["rank", "trial", *board.objectives, *keys, "status", "time", "folder", "weights"]
    rows = []
    for place, entry in enumerate(board.entries, 1):
        values = entry.values or (None,) * len(board.objectives)
        rows.append(
            [
                str(place) if entry.values else "",
                str(entry.number),
                *(f"{value:.6g}" if value is not None else "" for value in values),
                *(number(entry.params[key], "null") if key in entry.params else "" for key in keys),
                entry.verdict,
                clock(entry.seconds),
                entry.folder.name,
                entry.weights.name if entry.weights else "",
            ]
        )
    return header, rows


def lines(board: Leaderboard) -> list[str]:
    """The leaderboard in columns for a terminal, without the long names of folders and files."""
    header, rows = table(board)
    cells = [row[:-2] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def note(board: Leaderboard) -> str:
    """The leaderboard in Markdown for a page that already shows the runs: without folders and files."""
    header, rows = table(board)
    return markdown(header[:-2], [row[:-2] for row in rows])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(map(_markdown_line, [header, ["---"] * len(header), *rows]))


def make_entry(folder: Path, record: TrialRecord, objectives: int) -> Entry:
    """The entry of one trial in a study of that many objectives."""
    complete = record.verdict == "complete" and len(record.values) == objectives
    last = record.attempts[-1] if record.attempts else None
    return Entry(
        number=record.number or 0,
        verdict=record.verdict,
        values=record.values if complete else (),
        params=record.params,
        seconds=record.seconds,
        ended=last.ended if last else None,
        trained=bool(record.attempts),
        folder=folder,
        weights=_weights(folder) if complete else None,
        message=record.message or (last.message if last else ""),
    )


def _weights(folder: Path) -> Path | None:
    try:
        result = read_result(RunDir(folder))
    except DamagedRecord:
        return None
    weights = folder / result.weights if result is not None and result.weights else None
    return weights if weights is not None and weights.is_file() else None


def _dominators(complete: Sequence[Entry]) -> list[int]:
    """By how many others each complete trial is dominated; with one objective 1 stands for any number above 0."""
    if not complete or len(complete[0].values) == 1:
        best = min((entry.values for entry in complete), default=())
        return [0 if entry.values == best else 1 for entry in complete]
    values = numpy.array([entry.values for entry in complete])
    counts = []
    for one in values:
        counts.append(int(((values <= one).all(axis=1) & (values < one).any(axis=1)).sum()))
    return counts


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

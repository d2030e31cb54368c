"""The leaderboard of a study, read from its run folders: one ranking of its trials in several formats."""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev

import numpy

from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.preferences import Preferences, read_preferences
from sweeplora.report.statistics import Losses, means_over_seeds
from sweeplora.report.words import clock, number
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import (
    DamagedRecord,
    Result,
    Scalar,
    TrialRecord,
    Verdict,
    read_result,
    readable_trials,
    replicate_folders,
    trial_folders,
)
from sweeplora.rundir.scores import read_scores_file

_COLUMNS = ("mean", "±", "seeds", "relative", "best", "at step", "preferred")
"""Beside the objectives: mean, its standard error and the number of seeds, where there are several; val/relative; the
lowest val/loss and its step; what a person prefers (`python -m sweeplora prefer`)."""


@dataclass(frozen=True)
class Entry:
    """One trial of a leaderboard; `values` are its objectives, empty unless it completed. Times are in seconds.

    With sweep.replicates `values` are means over seeds, and `own` those of its own training; `replicate` is None but
    for a repetition with another seed.
    """

    number: int
    verdict: Verdict
    values: tuple[float, ...]
    own: tuple[float, ...]
    replicate: int | None
    params: Mapping[str, Scalar]
    seconds: float
    ended: float | None
    trained: bool
    """Whether it was trained here; False for a trial that was taken from an earlier run."""
    folder: Path
    weights: Path | None
    """The last weights, where they are still there."""
    message: str
    metrics: Mapping[str, float]
    """The last value of every metric, as the training reported them."""

    @property
    def size(self) -> int | None:
        """Bytes of the last weights."""
        return self.weights.stat().st_size if self.weights is not None and self.weights.is_file() else None


@dataclass(frozen=True)
class Leaderboard:
    """The trials of a study, best first; trials without a value come last, by number.

    Objectives are minimised. With several objectives, trials rank by how many others dominate them (are at least as
    good in every objective and better in one), then by the objectives in order, then by number.
    """

    study: str
    objectives: tuple[str, ...]
    entries: tuple[Entry, ...]
    repeats: Mapping[int, tuple[Entry, ...]] = field(default_factory=dict)
    """Number of a trial -> its repetitions with other seeds, complete or not."""
    preferences: Preferences | None = None
    """What a person said of the complete trials' previews; None without comparisons."""

    def measured(self, entry: Entry) -> list[float]:
        """The first objective at every seed that a complete trial was trained with, its own first."""
        return [entry.own[0], *(again.own[0] for again in self.repeats.get(entry.number, ()) if again.values)]

    @property
    def base(self) -> float | None:
        """The base model's val/loss, where it is an objective and the same for all trials."""
        if "val/loss" not in self.objectives:
            return None
        place = self.objectives.index("val/loss")
        known = [
            e.own[place] / e.metrics["val/relative"] for e in self.entries if e.own and "val/relative" in e.metrics
        ]
        return known[0] if known and max(known) - min(known) <= 1e-5 * known[0] else None

    @property
    def best(self) -> Entry | None:
        """The first completed trial."""
        return next((entry for entry in self.entries if entry.values), None)

    def lacking(self) -> list[int]:
        """Complete trials that a search by preference still wants compared, by number; none for other objectives."""
        if self.objectives != (PREFERENCE,):
            return []
        complete = [e.number for e in self.entries if e.verdict == "complete" and RunDir(e.folder).samples.is_dir()]
        if len(complete) < 2:
            return []
        if self.preferences is None:
            return sorted(complete)
        return sorted(set(self.preferences.lacking()) & set(complete))

    def counts(self) -> dict[Verdict, int]:
        """Verdict -> number of trials that ended with it."""
        counts: dict[Verdict, int] = {}
        for entry in self.entries:
            counts[entry.verdict] = counts.get(entry.verdict, 0) + 1
        return counts


def read_leaderboard(folder: Path, study: str, objectives: tuple[str, ...]) -> Leaderboard:
    """The leaderboard of `runs/<study>/`; trials with a damaged record are left out."""
    return make_leaderboard(study, objectives, readable_trials([*trial_folders(folder), *replicate_folders(folder)]))


def make_leaderboard(
    study: str, objectives: tuple[str, ...], trials: Iterable[tuple[Path, TrialRecord]]
) -> Leaderboard:
    """The leaderboard of trials and their repetitions, each with its run folder."""
    entries = [make_entry(folder, record, len(objectives)) for folder, record in trials]
    return ranked(study, objectives, entries, preferences_among(entries))


def preferences_among(entries: Sequence[Entry]) -> Preferences | None:
    """What a person said of the complete trials among some of one study; None without comparisons."""
    complete = [entry for entry in entries if entry.replicate is None and entry.verdict == "complete"]
    if not complete:
        return None
    return read_preferences(complete[0].folder.parent, {entry.folder.name: entry.number for entry in complete})


def ranked(
    study: str, objectives: tuple[str, ...], entries: Sequence[Entry], preferences: Preferences | None = None
) -> Leaderboard:
    """The leaderboard of trials whose entries are known.

    Trials that were trained again with other seeds come first, by their mean: one value of a seed is luck. That of the
    search chose them, and does not count: the first one is the verdict's best. Where the objective is a person's
    preference, it is that of the comparisons so far, whatever was recorded when a trial ended.
    """
    trials = [entry for entry in entries if entry.replicate is None]
    if objectives == (PREFERENCE,):
        trials = [_preferred(entry, preferences) for entry in trials]
    repeats: dict[int, tuple[Entry, ...]] = {}
    for entry in entries:
        if entry.replicate is not None:
            repeats[entry.number] = (*repeats.get(entry.number, ()), entry)
    complete = [entry for entry in trials if entry.values]
    means = _means_again(complete, repeats) if len(objectives) == 1 else {}
    dominated = dict(zip((entry.folder for entry in complete), _dominators(complete), strict=True))

    def rank(entry: Entry) -> tuple[bool, float, tuple[float, ...], int]:
        again = [one.own[0] for one in repeats.get(entry.number, ()) if one.values]
        if again and entry.values and len(objectives) == 1:
            mean = means.get(entry.number) if means else fmean([entry.own[0], *again])
            return (False, 0, (math.inf if mean is None else mean,), entry.number)
        return (True, dominated.get(entry.folder, math.inf), entry.values, entry.number)

    return Leaderboard(study, objectives, tuple(sorted(trials, key=rank)), repeats, preferences)


def _means_again(complete: Sequence[Entry], repeats: Mapping[int, Sequence[Entry]]) -> Mapping[int, float]:
    """What the verdict ranks the confirmed trials by: number -> log(objective); empty where there is nothing to rank.

    Every trial's seeds are the same, or the values are means over them, which rank by themselves.
    """
    values: dict[int, dict[int, Losses]] = {}
    for entry in complete:
        again = {one.replicate or 0: one.own[0] for one in repeats.get(entry.number, ()) if one.values}
        if again and entry.own == entry.values:
            values[entry.number] = {seed: numpy.array([value]) for seed, value in again.items()}
    if any(value[0] <= 0 for seeds in values.values() for value in seeds.values()):
        return {}
    return means_over_seeds(values)


def _preferred(entry: Entry, preferences: Preferences | None) -> Entry:
    """An entry with the value of the comparisons so far; without any where it was in none."""
    stands = preferences.of.get(entry.number) if preferences is not None and entry.values else None
    values = () if stands is None else (1 - stands.share,)
    return replace(entry, values=values, own=values)


def front(board: Leaderboard) -> list[Entry]:
    """The complete trials that no other trial dominates, best first."""
    complete = [entry for entry in board.entries if entry.values]
    return [entry for entry, count in zip(complete, _dominators(complete), strict=True) if count == 0]


def write_leaderboard(folder: Path, board: Leaderboard, said: Sequence[str] = ()) -> None:
    """Write `leaderboard.csv` and `leaderboard.md` to the study's folder; `said` is the verdict, a line each."""
    header, rows = table(board)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    write_whole(folder / "leaderboard.csv", text.getvalue())
    verdict = "".join(f"- {line}\n" for line in said) + ("\n" if said else "")
    write_whole(folder / "leaderboard.md", f"# {board.study}\n\n{verdict}{markdown(header, rows)}\n")


def table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Header and rows, every cell a string; folder and weights are the last two columns.

    Columns that nothing is known for are left out. The last row is the base model, without a network.
    """
    keys = list(dict.fromkeys(key for entry in board.entries for key in entry.params))
    kinds = [*board.objectives, *_COLUMNS]
    header = ["rank", "trial", *board.objectives, *_COLUMNS, *keys, "status", "time", "file", "folder", "weights"]
    rows = []
    for place, entry in enumerate(board.entries, 1):
        values = entry.values or (None,) * len(board.objectives)
        rows.append(
            [
                str(place) if entry.values else "",
                str(entry.number),
                *(f"{value:.6g}" if value is not None else "" for value in values),
                *_columns(board, entry),
                *(number(entry.params[key], "null") if key in entry.params else "" for key in keys),
                entry.verdict,
                clock(entry.seconds),
                _mebibytes(entry.size),
                entry.folder.name,
                entry.weights.name if entry.weights else "",
            ]
        )
    if board.base is not None:
        base = {"val/loss": f"{board.base:.6g}", "relative": "1"}
        rows.append(["", "base", *(base.get(kind, "") for kind in kinds), *[""] * len(keys), "base model", *[""] * 4])
    droppable = {*_COLUMNS, "file"}
    if board.objectives == (PREFERENCE,):
        droppable.add(PREFERENCE)
        rows = [[cell if name != PREFERENCE else "" for name, cell in zip(header, row, strict=True)] for row in rows]
    kept = [i for i, name in enumerate(header) if name not in droppable or any(row[i] for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _columns(board: Leaderboard, entry: Entry) -> list[str]:
    """The cells of _COLUMNS."""
    values = board.measured(entry) if entry.values else []
    several = len(values) > 1
    best = entry.metrics.get("val/best") if "val/loss" in board.objectives and entry.values else None
    relative = entry.metrics.get("val/relative") if entry.values else None
    return [
        f"{fmean(values):.6g}" if several else "",
        f"{stdev(values) / math.sqrt(len(values)):.2g}" if several else "",
        str(len(values)) if several else "",
        "" if relative is None else f"{relative:.4g}",
        "" if best is None else f"{best:.6g}",
        best_step(entry) if best is not None else "",
        _shown_preference(board, entry),
    ]


def _shown_preference(board: Leaderboard, entry: Entry) -> str:
    """`82 % (61 to 93)`: the share of decided comparisons with an average trial that a trial wins."""
    stands = board.preferences.of.get(entry.number) if board.preferences is not None else None
    if stands is None:
        return ""
    share, low, high = (f"{100 * value:.0f}" for value in (stands.share, stands.low, stands.high))
    return f"{share} % ({low} to {high})"


def best_step(entry: Entry) -> str:
    """The step of a trial's lowest val/loss, empty if it is not known."""
    scores = RunDir(entry.folder).scores
    return _lowest_step(scores, scores.stat().st_mtime_ns) if scores.exists() else ""


@functools.lru_cache(maxsize=8192)
def _lowest_step(file: Path, version: int) -> str:
    scores = read_scores_file(file)
    if scores is None or not scores.by_step:
        return ""
    return str(min(scores.by_step, key=lambda step: fmean(scores.by_step[step])))


def _mebibytes(size: int | None) -> str:
    return "" if not size else f"{size / 2**20:.3g} MiB"


def note(board: Leaderboard) -> str:
    """The leaderboard in Markdown for a page that already shows the runs: without folders and files.

    The page may draw tables without any room between the columns, and has no room for many rows: cells end with a space
    that HTML keeps, and of a long leaderboard the best rows and the base model's are shown.
    """
    header, rows = table(board)
    base = rows[-1:] if board.base is not None else []
    shown = rows if len(rows) <= _MOST_NOTED else [*rows[: _MOST_NOTED - len(base)], *base]
    spaced = [[f"{cell}{_SPACE}" if cell else "" for cell in row[:-2]] for row in (header, *shown)]
    left = len(rows) - len(shown)
    told = f"\n\n{left} more are in leaderboard.md, among the artifacts." if left else ""
    return markdown(spaced[0], spaced[1:]) + told


_MOST_NOTED = 40
_SPACE = "&emsp;"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(map(_markdown_line, [header, ["---"] * len(header), *rows]))


def make_entry(folder: Path, record: TrialRecord, objectives: int) -> Entry:
    """The entry of one trial, or of a repetition, in a study of that many objectives."""
    complete = record.verdict == "complete" and len(record.values) == objectives
    last = record.attempts[-1] if record.attempts else None
    result = _result(folder)
    weights = folder / result.weights if result is not None and result.weights else None
    return Entry(
        number=record.number or 0,
        verdict=record.verdict,
        values=record.values if complete else (),
        own=(record.own_values or record.values) if complete else (),
        replicate=record.replicate,
        params=record.params,
        seconds=record.seconds,
        ended=last.ended if last else None,
        trained=bool(record.attempts),
        folder=folder,
        weights=weights if complete and weights is not None and weights.is_file() else None,
        message=record.message or (last.message if last else ""),
        metrics=result.metrics if result is not None else {},
    )


def _result(folder: Path) -> Result | None:
    try:
        return read_result(RunDir(folder))
    except DamagedRecord:
        return None


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

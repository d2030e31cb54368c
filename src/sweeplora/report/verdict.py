"""The verdict of a study: which trials cannot be told from the best, and what to do about it, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from sweeplora.report.declared import limits_of
from sweeplora.report.edges import drawn_freely, edges
from sweeplora.report.leaderboard import Entry, Leaderboard, front
from sweeplora.report.objectives import FILE_SIZE, PREFERENCE
from sweeplora.report.statistics import ALPHA, Cells, Comparison, Comparisons, Losses, compare
from sweeplora.report.words import number, params_text
from sweeplora.rundir.files import read_sealed, sealed, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Scalar
from sweeplora.rundir.scores import Scores, read_scores

VERDICT = "verdict.json"
_MOST_VALUES = 12
_MOST_KEYS = 3
_MOST_OF_FRONT = 8
_SHARES = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 6: "a sixth", 7: "a seventh", 8: "an eighth"}


@dataclass(frozen=True)
class FrontVerdict:
    """What a study of several objectives found: the numbers of the trials that no other beats, and sentences."""

    front: tuple[int, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class NoVerdict:
    """Why trials that completed are not compared, in sentences."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class StudyVerdict:
    """What a study found. Differences are relative: 0.02 means 2 %.

    `best` and `not_separable` are trial numbers; `seeds`: how many the best was compared over; `detectable`: the
    difference that would have been found nine times out of ten (with one seed: below which nothing means anything).
    """

    best: int
    not_separable: tuple[int, ...]
    seeds: int
    detectable: float
    lines: tuple[str, ...]


Verdict = StudyVerdict | FrontVerdict | NoVerdict


def judge(board: Leaderboard, space: Mapping[str, Any], alpha: float = ALPHA) -> Verdict | None:
    """The verdict of a leaderboard; `space` as study.json has it. None without a complete trial, or by eye."""
    if len(board.objectives) > 1:
        return _judge_front(board, space)
    found = comparisons_of(board, alpha)
    if found is None:
        return _judge_nothing(board)
    by_number = {entry.number: entry for entry in board.entries}
    best = by_number[found.best]
    same = [other for other in found.others if not other.separable and (other.seeds > 1 or not found.measured)]
    close = [other for other in same if not found.measured or other.difference <= found.detectable]
    equal = {found.best, *(other.point for other in close)}
    told = [
        _headline(found),
        *_advice([entry for entry in board.entries if entry.number in equal], close, found.measured),
        *_undecided([other for other in same if other not in close]),
        *_each_value(board, frozenset(drawn_freely(space))),
        *_unsteady(board),
        *edges(space, best.params, partial(limits_of, best.folder)),
    ]
    detectable = found.detectable if found.measured else max(other.least for other in found.others)
    seeds = max(other.seeds for other in found.others) if found.measured else 1
    return StudyVerdict(found.best, found.not_separable, seeds, math.expm1(detectable), tuple(told))


def _judge_nothing(board: Leaderboard) -> NoVerdict | None:
    """Why nothing is compared; None where that needs no word."""
    complete = [entry for entry in board.entries if entry.values]
    if not complete or board.objectives == (PREFERENCE,):
        return None
    if len(_different(complete)) == 1:
        trials = (
            f"trial {complete[0].number} is" if len(complete) == 1 else "all complete trials are of one point, which is"
        )
        return NoVerdict((f"{trials} compared with nothing: no other point is complete",))
    low = min(complete, key=lambda entry: min(board.measured(entry)))
    told = f"{board.objectives[0]} of trial {low.number} is {number(min(board.measured(low)))}, not above zero"
    return NoVerdict((f"{told}: differences are judged as ratios, so nothing is said of which are real",))


def _judge_front(board: Leaderboard, space: Mapping[str, Any]) -> FrontVerdict | None:
    """Which trials no other beats in every objective, and what to widen for the best of each.

    The smallest file lies at an edge by its nature, and asks for nothing.
    """
    best = front(board)
    if sum(bool(entry.values) for entry in board.entries) < 2:
        return None
    last = len(board.objectives) - 1
    walked = sorted(best, key=lambda entry: (entry.values[last], entry.values))
    shown = [f"{entry.number} ({', '.join(map(number, entry.values))})" for entry in walked[:_MOST_OF_FRONT]]
    more = f" and {len(walked) - len(shown)} more" if len(walked) > len(shown) else ""
    names, many = ", ".join(board.objectives), "trials" if len(walked) > 1 else "trial"
    told = [f"no other trial beats {many} {', '.join(shown)}{more} in all of {names}; {_steps_of(board)} may be luck"]
    for place, objective in enumerate(board.objectives):
        if objective != FILE_SIZE:
            least = min(best, key=lambda entry: entry.values[place])
            found = edges(space, least.params, partial(limits_of, least.folder))
            told += [f"for {objective}, {line}" for line in found]
    return FrontVerdict(tuple(entry.number for entry in walked), tuple(told))


def _steps_of(board: Leaderboard) -> str:
    """How much a step along a front is worth: of one training each, or of means."""
    seeds = max(len(board.measured(entry)) for entry in board.entries if entry.values)
    return "one seed each: a step" if seeds == 1 else f"means of up to {seeds} seeds, without a test: a small step"


def comparisons_of(board: Leaderboard, alpha: float = ALPHA) -> Comparisons | None:
    """Every complete trial against the best; None where there is nothing to compare or a loss is not positive.

    None also where a person decides: comparisons by eye have their own measure of doubt (`report.preferences`).
    """
    complete = _different([entry for entry in board.entries if entry.values])
    if len(board.objectives) != 1 or board.objectives == (PREFERENCE,) or len(complete) < 2:
        return None
    if any(min(board.measured(entry)) <= 0 for entry in complete):
        return None
    # With replicates every trial has the same seeds; otherwise the first seed chose the trials to train again.
    is_mean = any(entry.own != entry.values for entry in complete)
    return compare(_cells(board, complete), None if is_mean else 0, alpha)


def _different(entries: Sequence[Entry]) -> list[Entry]:
    """The trials without those of a point that was proposed again: the same training, which says nothing more."""
    points: dict[object, Entry] = {}
    for entry in entries:
        points.setdefault((frozenset(entry.params.items()), entry.own), entry)
    return list(points.values())


def write_verdict(folder: Path, verdict: Verdict | None) -> None:
    """Write `verdict.json` to the study's folder, for the record and the report; remove one that no longer holds."""
    if verdict is None:
        (folder / VERDICT).unlink(missing_ok=True)
    else:
        write_json(folder / VERDICT, sealed(asdict(verdict)))


def said(folder: Path) -> tuple[str, ...]:
    """The sentences of a study's verdict, none before there is one."""
    content = read_sealed(folder / VERDICT) or {}
    written = content.get("lines")
    return tuple(map(str, written)) if isinstance(written, list) else ()


def best_by_value(board: Leaderboard) -> dict[str, dict[Scalar, Entry]]:
    """For each searched key with few values, the best trial of each value: value -> entry."""
    found: dict[str, dict[Scalar, Entry]] = {}
    for entry in board.entries:
        for key, value in entry.params.items():
            if entry.values:
                found.setdefault(key, {}).setdefault(value, entry)
    return {key: values for key, values in found.items() if 1 < len(values) <= _MOST_VALUES}


def _each_value(board: Leaderboard, free: frozenset[str]) -> list[str]:
    """For each key with few values, how far the best trial of each value is from the best of all.

    `free`: keys that are left out, since every trial has a value of its own.
    """
    told = []
    shown = [(key, values) for key, values in best_by_value(board).items() if key not in free]
    for key, values in shown[:_MOST_KEYS]:
        means = {value: fmean(board.measured(entry)) for value, entry in values.items()}
        first, *others = sorted(values, key=lambda value: means[value])
        behind = [f"{number(one, 'null')} ({percent(math.log(means[one] / means[first]))} worse)" for one in others]
        told.append(f"{key}, each at its best trial: {number(first, 'null')} first, then {', '.join(behind)}")
    return told


_MANY_TIMES = 10
_MOST_LOG = 700.0  # e to the power of more is no number


def percent(difference: float) -> str:
    """A difference in log(loss) as `2.1 %`; one that a trial which went astray makes as `8.1e+06 times`."""
    share = math.expm1(min(difference, _MOST_LOG))
    if share >= _MANY_TIMES:
        return f"{share:.2g} times"
    return f"{100 * share:.0f} %" if share >= 1 else f"{100 * share:.2g} %"


def _headline(found: Comparisons) -> str:
    if not found.measured:
        close, others = len(found.not_separable), len(found.others)
        those = f"{close or 'none'} of the other {others} trials {'are' if close > 1 else 'is'} that close"
        if others == 1:
            those = "the other one is that close" if close else "the other one is not that close"
        return (
            f"one seed: differences below {_least(found.others)} mean nothing (seeds of the embedded model differ so "
            f"much); {those} to trial {found.best}; "
            "sweep.confirm.top=3 trains the best three with further seeds"
        )
    again = [other for other in found.others if other.seeds > 1]
    seeds = max(other.seeds for other in again)
    would = f"a difference of {percent(found.detectable)} would have been found nine times out of ten"
    same = [other for other in again if not other.separable]
    close_by = [other for other in found.others if other.seeds == 1 and not other.separable]
    if close_by:
        trials = f"{len(close_by)} trials with one seed are" if len(close_by) > 1 else "1 trial with one seed is"
        would += f"; {trials} within {_least(close_by)}, too close to say"
    if same:
        named = _listed([f"{other.point} ({percent(other.difference)})" for other in same])
        trials = "trials" if len(same) > 1 else "trial"
        return f"trial {found.best} cannot be told from {trials} {named} over {seeds} seeds; {would}"
    return f"trial {found.best} is the best over {seeds} seeds: {_next(again)}; {would}"


def _least(others: Sequence[Comparison]) -> str:
    return percent(max(other.least for other in others))


def _unsteady(board: Leaderboard) -> list[str]:
    """The trials that did not come through with every seed."""
    told = []
    for point, again in sorted(board.repeats.items()):
        lost = sum(entry.verdict in ("diverged", "failed") for entry in again)
        if lost:
            told.append(f"trial {point} failed or diverged with {lost} of {len(again)} further seeds")
    return told


def _next(others: Sequence[Comparison]) -> str:
    nearest = min(others, key=lambda other: other.difference)
    return f"the next, trial {nearest.point}, is {percent(nearest.difference)} worse"


def _advice(same: Sequence[Entry], compared: Sequence[Comparison], measured: bool) -> list[str]:
    """What to take of trials that cannot be told apart, first in rank first: the smallest file, where files differ."""
    if len(same) < 2:
        return []
    spread = percent(max(other.difference for other in compared))
    are = f"are equal within {spread}" if measured else f"lie within {spread}"
    sizes = {entry.number: entry.size for entry in same}
    known = [size for size in sizes.values() if size]
    if len(known) < len(same) or min(known) > 0.9 * max(known):
        first = f"trial {same[0].number} ({params_text(same[0].params)})"
        return [f"they {are}: any of them serves; take {first}"]
    smallest = min(same, key=lambda entry: sizes[entry.number] or 0)
    share = _share((sizes[smallest.number] or 1) / max(known))
    key = _deciding_key(same)
    if key is None:
        return [f"they {are}; take trial {smallest.number}: {share} of the largest file"]
    values = sorted({entry.params[key] for entry in same}, key=str)
    if all(isinstance(value, int | float) for value in values):
        values = sorted(values, key=lambda value: float(value or 0))
    named = _listed([number(value, "null") for value in values])
    chosen = number(smallest.params[key], "null")
    return [f"{key} {named} {are}; take {chosen} (trial {smallest.number}): {share} of the largest file"]


def _undecided(others: Sequence[Comparison]) -> list[str]:
    """Those that could not be told apart although they lie further off than what is nearly always found."""
    if not others:
        return []
    named = _listed([f"{other.point} ({percent(other.difference)} worse so far)" for other in others])
    trials, are = ("trials", "are") if len(others) > 1 else ("trial", "is")
    return [f"only more seeds can tell whether {trials} {named} {are} as good"]


def _deciding_key(same: Sequence[Entry]) -> str | None:
    """The searched key whose values go with the sizes of the files."""
    for key in same[0].params:
        if not all(key in entry.params for entry in same):
            continue
        sizes: dict[Scalar, set[int]] = {}
        for entry in same:
            sizes.setdefault(entry.params[key], set()).add(round((entry.size or 0) / 2**12))
        if 1 < len(sizes) <= _MOST_VALUES and all(max(of) - min(of) <= 2 for of in sizes.values()):
            return key
    return None


def _share(ratio: float) -> str:
    whole = round(1 / ratio)
    if whole in _SHARES and abs(1 / ratio - whole) < 0.15 * whole:
        return _SHARES[whole]
    return f"{100 * ratio:.2g} %"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def _is_of(scores: Scores, value: float) -> bool:
    """Whether the last scores are those of this val/loss: their line may have been damaged, and be missing."""
    losses = list(scores.by_step.values())
    return bool(losses) and math.isclose(math.fsum(losses[-1]) / len(losses[-1]), value, rel_tol=1e-6)


def _cells(board: Leaderboard, complete: Sequence[Entry]) -> Cells:
    """The losses of every trial and seed: of each triple where trials were repeated and scored alike, else the mean."""
    means: dict[int, dict[int, Losses]] = {}
    triples: dict[int, dict[int, Scores]] = {}
    for entry in complete:
        again = [one for one in board.repeats.get(entry.number, ()) if one.values]
        runs = {0: entry, **{one.replicate or 0: one for one in again}}
        means[entry.number] = {index: np.array([run.own[0]]) for index, run in runs.items()}
        if len(runs) > 1 and board.objectives[0] == "val/loss":
            scores = {index: read_scores(RunDir(run.folder)) for index, run in runs.items()}
            triples[entry.number] = {
                i: one for i, one in scores.items() if one is not None and _is_of(one, runs[i].own[0])
            }
    for index in {index for seeds in triples.values() for index in seeds}:
        names = {seeds[index].triples for seeds in triples.values() if index in seeds}
        scored = all(
            index in triples.get(point, {}) for point in means if len(means[point]) > 1 and index in means[point]
        )
        if len(names) == 1 and scored:
            for point, seeds in triples.items():
                if index in seeds:
                    means[point][index] = np.array(list(seeds[index].by_step.values())[-1])
    return means

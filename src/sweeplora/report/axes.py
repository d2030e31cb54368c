"""The two searched keys that span a contact sheet, and where each trial stands on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeplora.config.nearest import nearest
from sweeplora.errors import UserError
from sweeplora.report.figures import Mark, explained, held_to, order
from sweeplora.report.leaderboard import Entry, Leaderboard
from sweeplora.report.limits import limits_of_objectives
from sweeplora.report.words import number
from sweeplora.rundir.record import Scalar

MOST_PLACES = 8
_BINS = 5
_ENOUGH_TO_EXPLAIN = 4
_ABSENT = "not set"


@dataclass(frozen=True)
class Axis:
    """One side of a sheet: a key, the labels of its places, the place of each trial (by number) that has one."""

    key: str
    labels: tuple[str, ...]
    places: Mapping[int, int]
    left_out: int = 0
    """How many values are not on the sheet, for lack of room."""


def choose_axes(board: Leaderboard, rows: str | None, columns: str | None) -> tuple[Axis, Axis]:
    """Rows and columns of a study's sheets; without names the two keys that explain most of the objective.

    Raises UserError for a key that was not searched, or that is given twice.
    """
    keys = list(dict.fromkeys(key for entry in board.entries for key in entry.params))
    given = {name: _key(name, word, keys) for name, word in (("--rows", rows), ("--columns", columns)) if word}
    if len(set(given.values())) < len(given):
        raise UserError("--columns", columns, f"the rows are {rows} already; give another of {', '.join(keys)}")
    free = [key for key in _by_weight(board) if key not in given.values()]
    wanted = 2 - len(given)
    chosen = sorted(free[:wanted], key=keys.index)
    first = given.get("--rows") or (chosen.pop(0) if chosen else "")
    second = given.get("--columns") or (chosen.pop(0) if chosen else "")
    return _axis(board, first), _axis(board, second)


def _key(option: str, word: str, keys: Sequence[str]) -> str:
    """A searched key, given whole or by a last part that no other key has."""
    matches = [key for key in keys if word in (key, key.rpartition(".")[2])]
    if len(matches) == 1 or word in keys:
        return word if word in keys else matches[0]
    if matches:
        raise UserError(option, word, f"several searched keys end so: {', '.join(matches)}; give one in full")
    if not keys:
        raise UserError(option, word, "no trial of this study has a searched key yet")
    said = nearest(word, keys)
    searched = "" if all(key in said for key in keys) else f" (searched: {', '.join(keys)})"
    raise UserError(option, word, f"was not searched; {said}{searched}")


def _by_weight(board: Leaderboard) -> list[str]:
    """The keys that differ between trials, the one that explains most of the objective first."""
    keys = list(dict.fromkeys(key for entry in board.entries for key in entry.params))
    varying = [key for key in keys if len({_value(entry, key) for entry in board.entries}) > 1]
    if len(varying) <= 2:
        return varying
    marks = [Mark(entry.number, entry.values, entry.params) for entry in board.entries if entry.values]
    marks = held_to(marks, limits_of_objectives(board)[0])
    shares = {key: _share([mark for mark in marks if key in mark.params], key) for key in varying}
    # A key of one branch has fewer trials: it counts by the part of them that it was searched in.
    return sorted(varying, key=lambda key: -shares[key] * sum(key in mark.params for mark in marks))


def _share(marks: Sequence[Mark], key: str) -> float:
    if len(marks) < _ENOUGH_TO_EXPLAIN or len({mark.values for mark in marks}) < 2:
        return 0.0
    return explained(marks, key)


def _axis(board: Leaderboard, key: str) -> Axis:
    """Few values are a place each; many numbers share places of about as many trials; of many words the best stay."""
    if not key:
        return Axis("", ("",), {entry.number: 0 for entry in board.entries})
    values = {entry.number: _value(entry, key) for entry in board.entries}
    known = sorted(set(values.values()) - {_ABSENT}, key=order)
    absent = [_ABSENT] if _ABSENT in values.values() else []
    if len(known) > MOST_PLACES and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        return _binned(key, values, known)
    kept = known
    if len(known) > MOST_PLACES:
        kept = list(dict.fromkeys(values[entry.number] for entry in board.entries))  # best first
        kept = sorted([value for value in kept if value != _ABSENT][:MOST_PLACES], key=order)
    shown: list[Scalar] = [*kept, *absent]
    places = {trial: shown.index(value) for trial, value in values.items() if value in shown}
    labels = tuple(f"{_short(key)} {number(value, 'null')}" for value in shown)
    return Axis(key, labels, places, len(known) - len(kept))


def _binned(key: str, values: Mapping[int, Scalar], known: Sequence[Scalar]) -> Axis:
    ranked = sorted((value for value in values.values() if value != _ABSENT), key=order)
    place_of: dict[Scalar, int] = {}
    for place, value in enumerate(ranked):
        place_of.setdefault(value, _BINS * place // len(ranked))
    used = sorted(set(place_of.values()))
    members = [[value for value in known if place_of[value] == place] for place in used]
    labels = [_range(_short(key), of) for of in members]
    places = {trial: used.index(place_of[value]) for trial, value in values.items() if value in place_of}
    if len(places) < len(values):
        places |= {trial: len(used) for trial, value in values.items() if value not in place_of}
        labels.append(f"{_short(key)} {_ABSENT}")
    return Axis(key, tuple(labels), places)


def _range(name: str, members: Sequence[Scalar]) -> str:
    low, high = number(_rounded(members[0])), number(_rounded(members[-1]))
    return f"{name} {low}" if low == high else f"{name} {low} to {high}"


def _rounded(value: Scalar) -> Scalar:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _value(entry: Entry, key: str) -> Scalar:
    return entry.params.get(key, _ABSENT)


def _short(key: str) -> str:
    return key.rpartition(".")[2]

"""What a person prefers, in sentences, beside what the objective prefers."""

from __future__ import annotations

import itertools

from sweeplora.report.leaderboard import Entry, Leaderboard
from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.words import named_values

_SURE = 0.95
_LOSS = "val/loss"


def preference_lines(board: Leaderboard) -> list[str]:
    """One or a few sentences on the comparisons of a study; none without comparisons, or without any between two."""
    found = board.preferences
    favourite = found.favourite if found is not None else None
    if found is None or favourite is None:
        return []
    entries = {entry.number: entry for entry in board.entries}
    stands = found.of[favourite]
    count = len(found.outcomes)
    low, high = f"{100 * stands.low:.0f}", f"{100 * stands.high:.0f}"
    told = [
        f"{_both(board, entries, favourite)}",
        f"trial {favourite} ({named_values(entries[favourite].params)}) wins {100 * stands.share:.0f} % ({low} to "
        f"{high}) of decided comparisons with an average trial, after {count} comparison{'s' if count > 1 else ''}",
    ]
    if stands.chance < _SURE:
        rivals = sorted(found.of, key=lambda number: -found.of[number].chance)
        close = [f"{n} ({100 * found.of[n].chance:.0f} %)" for n in rivals if found.of[n].chance >= 0.05][:4]
        told.append(
            f"the best for your eyes may be trial {', '.join(close)}: "
            f"python -m sweeplora prefer {board.study} makes it surer"
        )
    agreement = _agreement(board)
    if agreement is not None:
        name, share = agreement
        told.append(f"your order and {name}'s agree on {100 * share:.0f} % of the pairs of trials")
    return told


def rival(board: Leaderboard) -> tuple[str, Entry] | None:
    """The measured objective beside a person's preference, and the trial that it ranks first; None if there is none."""
    measured = _measured(board)
    if measured is None:
        return None
    name, values = measured
    if not values:
        return None
    number = min(values, key=lambda one: (values[one], one))
    return name, next(entry for entry in board.entries if entry.number == number)


def _both(board: Leaderboard, entries: dict[int, Entry], favourite: int) -> str:
    """`you prefer trial 7; val/loss prefers trial 9`, and whether the difference is more than chance."""
    other = rival(board)
    if other is None:
        return f"you prefer trial {favourite}"
    name, entry = other
    if entry.number == favourite:
        return f"you prefer trial {favourite}, and so does {name}"
    told = f"you prefer trial {favourite}; {name} prefers trial {entry.number}"
    assert board.preferences is not None
    if entry.number not in board.preferences.of:
        return f"{told}, which you have not compared"
    sure = board.preferences.better(favourite, entry.number)
    return f"{told}, which you like less with a probability of {100 * sure:.0f} %"


def _measured(board: Leaderboard) -> tuple[str, dict[int, float]] | None:
    """What is measured beside the preference: its name, and the value of each complete trial."""
    if board.objectives == (PREFERENCE,):
        values = {
            entry.number: entry.metrics[_LOSS]
            for entry in board.entries
            if entry.verdict == "complete" and _LOSS in entry.metrics
        }
        return (_LOSS, values) if values else None
    if len(board.objectives) > 1:
        return None
    return board.objectives[0], {entry.number: entry.values[0] for entry in board.entries if entry.values}


def _agreement(board: Leaderboard) -> tuple[str, float] | None:
    """The share of pairs of compared trials that both order alike (Kendall 1938); None for fewer than three trials."""
    measured = _measured(board)
    if measured is None or board.preferences is None:
        return None
    name, values = measured
    of = board.preferences.of
    both = [number for number in of if number in values]
    pairs = [
        (of[one].share - of[other].share) * (values[other] - values[one])
        for one, other in itertools.combinations(both, 2)
        if values[one] != values[other] and of[one].share != of[other].share
    ]
    return (name, sum(one > 0 for one in pairs) / len(pairs)) if len(both) > 2 and pairs else None

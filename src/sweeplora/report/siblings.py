"""What sets a trial apart from the others of its study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeplora.report.summaries import RunSummary, StudySummary
from sweeplora.report.words import number

_MOST_VALUES = 6


@dataclass(frozen=True)
class Difference:
    """A searched key: this trial's value and how many siblings have which other value, the most frequent first."""

    key: str
    value: Any
    others: tuple[tuple[str, int], ...]


def differences(study: StudySummary, run: RunSummary) -> list[Difference]:
    """How a trial differs from its siblings, one entry for each searched key in which any of them differs."""
    keys = dict.fromkeys(key for one in study.trials for key in one.params)
    found = []
    for key in keys:
        mine = run.params.get(key)
        others = Counter(number(one.params.get(key), "none") for one in study.trials if one.folder != run.folder)
        others.pop(number(mine, "none"), None)
        if others:
            found.append(Difference(key, mine, tuple(others.most_common())))
    return found


def rank_of(study: StudySummary, run: RunSummary) -> tuple[int, int] | None:
    """A trial's place by its values, and out of how many complete ones; None if it has no value or repeats a trial.

    With several objectives its place is behind those that are better in one and worse in none.
    """
    complete = [one for one in study.trials if one.state == "complete" and one.values]
    if run.replicate is not None or not run.values or run.state != "complete":
        return None
    return 1 + sum(_is_better(one.values, run.values) for one in complete), len(complete)


def _is_better(one: Sequence[float], other: Sequence[float]) -> bool:
    return (
        len(one) == len(other) and tuple(one) != tuple(other) and all(a <= b for a, b in zip(one, other, strict=True))
    )


def shown_differences(found: Sequence[Difference]) -> list[str]:
    """One line for each: the value here, and the others' with their counts; of many numbers only the range."""
    return [f"{one.key}={number(one.value, 'null')}; siblings: {_others(one.others)}" for one in found]


def _others(others: Sequence[tuple[str, int]]) -> str:
    if len(others) <= _MOST_VALUES:
        return ", ".join(f"{value} ({count}x)" for value, count in others)
    try:
        numbers = sorted(float(value) for value, _ in others)
        return f"{numbers[0]:g} to {numbers[-1]:g} ({len(others)} values)"
    except ValueError:
        some = ", ".join(f"{value} ({count}x)" for value, count in others[:_MOST_VALUES])
        return f"{some}, {len(others) - _MOST_VALUES} more values"

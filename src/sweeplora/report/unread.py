"""Lines of run folders' growing files that no reader can use: named, since what they said is missing everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sweeplora.report.words import near
from sweeplora.rundir import metrics, scores
from sweeplora.rundir.folder import RunDir

_MOST_NAMED = 5


def unread(folders: Iterable[Path]) -> list[str]:
    """One sentence for each metrics.jsonl and scores.jsonl of these run folders with lines that are passed over."""
    found = []
    for run in map(RunDir, folders):
        for file, lines in ((run.metrics, metrics.unread_lines), (run.scores, scores.unread_lines)):
            numbers = lines(file)
            if numbers:
                found.append(f"{near(file)}: {_named(numbers)} not what a training writes, and passed over")
    return found


def _named(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]} is"
    told = ", ".join(map(str, numbers[:_MOST_NAMED]))
    more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
    return f"lines {told}{more} are"

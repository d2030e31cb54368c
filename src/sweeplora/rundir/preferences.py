"""`preferences.jsonl` of a study: which of two trials' previews a person likes better, one comparison a line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from sweeplora.rundir.lines import LineWriter, read_lines

PREFERENCES = "preferences.jsonl"
Picked = Literal["left", "right", "tie"]
PICKS: tuple[Picked, ...] = get_args(Picked)
_UNDO = "undo"


class Judgement(NamedTuple):
    """One comparison: the names of two run folders as they were shown, and the side that was picked."""

    left: str
    right: str
    picked: Picked


def read_judgements(study: Path) -> list[Judgement]:
    """The comparisons of a study in their order, without those that were taken back; a damaged line is dropped."""
    found: list[Judgement] = []
    for line in read_lines(study / PREFERENCES):
        if line.get(_UNDO) is True:
            del found[-1:]
            continue
        left, right, picked = line.get("left"), line.get("right"), line.get("picked")
        if isinstance(left, str) and isinstance(right, str) and left != right and picked in PICKS:
            found.append(Judgement(left, right, picked))
    return found


class JudgementWriter:
    """Appends to a study's `preferences.jsonl`; every line is on the disk before it counts."""

    def __init__(self, study: Path) -> None:
        self._lines = LineWriter(study / PREFERENCES)
        self.written = 0
        """How many lines this writer has appended."""

    def add(self, judgement: Judgement, prompts: Sequence[int]) -> None:
        """Append a comparison, with the indices of the prompts whose previews were shown."""
        self._lines.write({**judgement._asdict(), "prompts": list(prompts), "time": round(time.time(), 3)})
        self._lines.sync()
        self.written += 1

    def undo(self) -> None:
        """Take back the last comparison that stands."""
        self._lines.write({_UNDO: True, "time": round(time.time(), 3)})
        self._lines.sync()
        self.written += 1

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

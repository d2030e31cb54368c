"""The scores of every held-out triple at every validation, by which two runs are compared triple by triple."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lines import LineWriter, read_line, read_lines, whole_lines


@dataclass(frozen=True)
class Scores:
    """Losses of a run's held-out triples, in the order of `triples`.

    `triples`: what makes each of them the same measurement in two runs; see `training.evaluate.TripleSet.names`.
    `base`: the losses of the base model without the network (None if the training ended before). `by_step`: optimizer
    step -> losses, ascending. The mean of a step's losses is its `val/loss`.
    """

    triples: tuple[str, ...]
    base: tuple[float, ...] | None
    by_step: Mapping[int, tuple[float, ...]]


class ScoresWriter:
    """Appends to `scores.jsonl`: the triples first, then a line for the base model and one for each validation."""

    def __init__(self, path: Path, triples: Sequence[str]) -> None:
        found = read_scores_file(path)
        self._lines = LineWriter(path)
        self._count = len(triples)
        if found is None or found.triples != tuple(triples):
            self._lines.write({"triples": list(triples)})

    def write(self, step: int, losses: Sequence[float]) -> None:
        """Record the losses after `step` optimizer steps; for each step the last ones written count."""
        assert len(losses) == self._count
        self._lines.write({"step": step, "losses": list(losses)})

    def sync(self) -> int:
        """Bring everything written to the disk; returns the file's size in bytes."""
        return self._lines.sync()

    def write_base(self, losses: Sequence[float]) -> None:
        """Record the base model's losses."""
        assert len(losses) == self._count
        self._lines.write({"base": list(losses)})


def read_scores(run: RunDir) -> Scores | None:
    """The scores of a run, None if it has none (yet); a torn last line and lines that do not fit are dropped."""
    return read_scores_file(run.scores)


def read_scores_file(path: Path) -> Scores | None:
    """As `read_scores`, from the file itself."""
    triples: tuple[str, ...] | None = None
    base: tuple[float, ...] | None = None
    by_step: dict[int, tuple[float, ...]] = {}
    for line in read_lines(path):
        if _is_names(line.get("triples")):
            triples, base, by_step = tuple(line["triples"]), None, {}
        elif triples is not None and _are_losses(line.get("base"), len(triples)):
            base = tuple(line["base"])
        elif triples is not None and _is_step(line.get("step")) and _are_losses(line.get("losses"), len(triples)):
            by_step[line["step"]] = tuple(line["losses"])
    return None if triples is None else Scores(triples, base, dict(sorted(by_step.items())))


def unread_lines(path: Path) -> list[int]:
    """The numbers, from 1, of the lines that are dropped although no loss in them is infinite or not a number."""
    count, found = 0, []
    for number, text in enumerate(whole_lines(path), 1):
        line = read_line(text) or {}
        losses = line.get("losses") if _is_step(line.get("step")) else line.get("base")
        if _is_names(line.get("triples")):
            count = len(line["triples"])
        elif not (isinstance(losses, list) and len(losses) == count > 0 and all(map(_is_number, losses))):
            found.append(number)
    return found


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def _are_losses(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_is_loss, value))


def _is_loss(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

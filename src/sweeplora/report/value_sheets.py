"""Contact sheets of the best trial of each value of a searched key: the answer to a sweep's question, in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sweeplora.report.axes import MOST_PLACES
from sweeplora.report.figures import order
from sweeplora.report.leaderboard import Entry, Leaderboard
from sweeplora.report.samples import Sample, kept_picture, last_of_each_prompt, prompt_of, samples_of
from sweeplora.report.sheet import Cell, Grid, draw_sheet, side_of
from sweeplora.report.sheets import MOST_PROMPTS, Sheet, base_cell, kept_in, told_of
from sweeplora.report.verdict import best_by_value
from sweeplora.report.words import number
from sweeplora.rundir.record import Scalar

_MOST_SHEETS = 2

Drawn = Mapping[int, list[Sample]]
"""The previews of each trial, by its number."""


def value_sheets(board: Leaderboard, folder: Path) -> list[Sheet]:
    """For each searched key with few values, the best trial of each: prompts down, the base model and values across.

    `folder`: the study's. None where a single key varies, since the sheets over two axes show the same then, and for a
    key of whose values fewer than two have a picture.
    """
    tried: dict[str, list[Scalar]] = {}
    for entry in board.entries:
        for key, value in entry.params.items():
            tried.setdefault(key, []).append(value)
    if sum(len(set(values)) > 1 for values in tried.values()) < 2:
        return []
    drawn = {entry.number: samples_of(entry.folder) for entry in board.entries}
    found = []
    for key, best in best_by_value(board).items():
        shown = {value: entry for value, entry in best.items() if _last(drawn[entry.number])}
        if 1 < len(shown) <= MOST_PLACES and len(best) < len(tried[key]) / 2:
            found.append(_sheet(board, key, shown, (drawn, folder)))
    return found[:_MOST_SHEETS]


def _sheet(board: Leaderboard, key: str, best: Mapping[Scalar, Entry], previews: tuple[Drawn, Path]) -> Sheet:
    drawn, folder = previews
    values = sorted(best, key=order)
    side = side_of(len(values) + 1)
    last = [_last(drawn[best[value].number]) for value in values]
    prompts = sorted({prompt for pictures in last for prompt in pictures})[:MOST_PROMPTS]
    leader = board.best.number if board.best is not None else None
    bases = {row: base_cell(board, drawn, prompt, (side, folder)) for row, prompt in enumerate(prompts)}
    cells = {(row, 0): replace(base, lines=()) for row, base in bases.items() if base is not None}
    for row, prompt in enumerate(prompts):
        for column, (value, pictures) in enumerate(zip(values, last, strict=True), 1):
            if prompt in pictures:
                picture = kept_picture(pictures[prompt].file, side, kept_in(folder))
                cells[row, column] = Cell(picture, (), best[value].number == leader)
    first = next((", ".join(base.lines) for base in bases.values() if base is not None), "")
    short = key.rpartition(".")[2]
    grid = Grid(
        title=f"the best trial of each {key}",
        subtitle=f"{board.study}: each row is a prompt with its seed, each trial at its last preview."
        + (" Framed: the best trial of the study." if leader is not None else ""),
        rows=tuple(_text(prompt, last) for prompt in prompts),
        columns=(first, *(_heading(board, f"{short} {number(value, 'null')}", best[value]) for value in values)),
        cells=cells,
    )
    return Sheet(f"best-{short}".replace("/", "-"), grid.title, draw_sheet(grid, side))


def _heading(board: Leaderboard, value: str, entry: Entry) -> str:
    return f"{value}, trial {entry.number}: {told_of(board, entry)}"


def _last(samples: Sequence[Sample]) -> dict[int, Sample]:
    """The last preview of each prompt after the first step; before it a trial draws what the base model does."""
    return {sample.prompt: sample for sample in last_of_each_prompt([one for one in samples if one.step > 0])}


def _text(prompt: int, last: Sequence[Mapping[int, Sample]]) -> str:
    said = (prompt_of(pictures[prompt].file) for pictures in last if prompt in pictures)
    return next((text for text in said if text), f"prompt {prompt + 1}")

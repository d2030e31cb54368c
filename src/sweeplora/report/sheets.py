"""The contact sheets of a study and of a run: which pictures, where, and what is said below them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from sweeplora.report.axes import Axis
from sweeplora.report.leaderboard import Entry, Leaderboard
from sweeplora.report.samples import (
    Sample,
    kept_picture,
    last_of_each_prompt,
    prompt_of,
    samples_of,
    starts_from_a_file,
)
from sweeplora.report.sheet import Cell, Grid, draw_sheet, side_of
from sweeplora.report.words import named_values, number
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics

SHEETS = "sheets"
"""The folder of a study's contact sheets."""

_KEPT = ".pictures"
MOST_PROMPTS = 6
_MOST_STEPS = 8


class Sheet(NamedTuple):
    """A contact sheet with its file's name and what it shows, in words."""

    name: str
    caption: str
    image: Image.Image


def study_sheets(board: Leaderboard, axes: tuple[Axis, Axis], folder: Path) -> list[Sheet]:
    """One sheet a prompt: the last previews of a study's trials over two searched keys; none without previews.

    `folder`: the study's. Where several trials share a cell the best one is shown, and the cell says so.
    """
    drawn = {entry.number: samples_of(entry.folder) for entry in board.entries}
    prompts = sorted({sample.prompt for samples in drawn.values() for sample in samples})[:MOST_PROMPTS]
    return [_study_sheet(board, axes, (prompt, drawn), folder) for prompt in prompts]


def shown_in(board: Leaderboard, axes: tuple[Axis, Axis], best: Sequence[Entry]) -> list[Path]:
    """The previews that a study's sheets show, and the sheets of its trials `best`: what is worth a small copy."""
    places: dict[tuple[int | None, int | None], list[Sample]] = {}
    for entry in board.entries:
        samples = samples_of(entry.folder)
        if samples:
            places.setdefault((axes[0].places.get(entry.number), axes[1].places.get(entry.number)), samples)
    found = [sample for samples in places.values() for sample in last_of_each_prompt(samples)]
    for entry in best:
        samples = samples_of(entry.folder)
        steps = _spread(sorted({sample.step for sample in samples}))
        found += [sample for sample in samples if sample.step in steps]
    return [sample.file for sample in found if sample.prompt < MOST_PROMPTS]


def trial_sheet(run: Path, name: str, title: str, kept: Path | None) -> Sheet | None:
    """A run's previews, prompts by steps; None if it has none. Over many steps, some evenly spread ones are shown."""
    samples = samples_of(run)
    if not samples:
        return None
    steps = _spread(sorted({sample.step for sample in samples}))
    prompts = sorted({sample.prompt for sample in samples})[:MOST_PROMPTS]
    side = side_of(len(steps))
    losses = read_metrics(RunDir(run).metrics).get("val/loss", {})
    known = {step: losses[step] for step in steps if step in losses}
    lowest = min(known, key=lambda step: known[step]) if len(known) > 1 else None
    files = {(sample.prompt, sample.step): sample.file for sample in samples}
    first = _first_label(run)
    cells = {
        (row, column): Cell(
            kept_picture(files[prompt, step], side, kept) if (prompt, step) in files else None,
            (),
            framed=step == lowest,
        )
        for row, prompt in enumerate(prompts)
        for column, step in enumerate(steps)
    }
    grid = Grid(
        title=title,
        subtitle="Each row is a prompt with its seed, each column a step. "
        + ("Framed: the lowest val/loss of these steps." if lowest is not None else ""),
        rows=tuple(prompt_of(next(s.file for s in samples if s.prompt == prompt)) for prompt in prompts),
        columns=tuple(_heading(step, first, known) for step in steps),
        cells=cells,
    )
    return Sheet(name, title, draw_sheet(grid, side))


def _heading(step: int, first: str, losses: Mapping[int, float]) -> str:
    value = f" val/loss {number(losses[step])}" if step in losses else ""
    return f"{first if step == 0 else f'step {step}'}{value}"


def write_sheets(sheets: Sequence[Sheet], folder: Path) -> list[Path]:
    """Write sheets as PNG into a folder; returns the files."""
    if sheets:
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    for sheet in sheets:
        stream = io.BytesIO()
        sheet.image.save(stream, "PNG", compress_level=3)
        write_whole(folder / f"{sheet.name}.png", stream.getvalue())
        written.append(folder / f"{sheet.name}.png")
    return written


def kept_in(study: Path) -> Path:
    """Where small copies of large previews are kept."""
    return study / _KEPT


def _study_sheet(
    board: Leaderboard, axes: tuple[Axis, Axis], previews: tuple[int, dict[int, list[Sample]]], folder: Path
) -> Sheet:
    prompt, drawn = previews
    rows, columns = axes
    side = side_of(len(columns.labels) + 1)
    of_prompt = {n: [sample for sample in samples if sample.prompt == prompt] for n, samples in drawn.items()}
    # Before its first step a trial draws what the base model does, which stands beside them all.
    last = {n: max((one for one in samples if one.step > 0), default=None) for n, samples in of_prompt.items()}
    together: dict[tuple[int, int], list[Entry]] = {}
    for entry in board.entries:
        if entry.number in rows.places and entry.number in columns.places:
            together.setdefault((rows.places[entry.number], columns.places[entry.number]), []).append(entry)
    chosen = {place: _best_shown(entries, last) for place, entries in together.items()}
    best = board.best.number if board.best is not None else None
    cells = {}
    for place, entry in chosen.items():
        sample = last[entry.number]
        picture = None if sample is None else kept_picture(sample.file, side, kept_in(folder))
        lines = _lines(board, entry, len(together[place]), sample, picture is None)
        rest = {key: value for key, value in entry.params.items() if key not in (rows.key, columns.key)}
        lines = (*lines, named_values(rest)) if rest else lines
        cells[place] = Cell(picture, lines, entry.number == best, entry.verdict != "complete")
    text = next((prompt_of(sample.file) for samples in of_prompt.values() for sample in samples), "")
    grid = Grid(
        title=text or f"prompt {prompt + 1}",
        subtitle=f"{board.study}: {_named(rows)} down, {_named(columns)} across; one prompt and one seed, "
        "each trial at its last preview.",
        rows=rows.labels,
        columns=columns.labels,
        cells=cells,
        beside=base_cell(board, drawn, prompt, (side, folder)),
        notes=_notes(board, axes, together, list(cells.values())),
    )
    return Sheet(f"prompt-{prompt:02d}", grid.title, draw_sheet(grid, side))


def _best_shown(entries: Sequence[Entry], last: dict[int, Sample | None]) -> Entry:
    """Of the trials in a cell, in the leaderboard's order, the first that has a picture, or just the first."""
    return next((entry for entry in entries if last[entry.number] is not None), entries[0])


def _lines(board: Leaderboard, entry: Entry, in_cell: int, sample: Sample | None, is_empty: bool) -> tuple[str, ...]:
    several = f", best of {in_cell}" if in_cell > 1 else ""
    # The picture of a trial that was cut short may be older than its end.
    at = f" at step {sample.step}" if sample is not None and not entry.values else ""
    return (told_of(board, entry), f"trial {entry.number}{at}{several}{', no picture' if is_empty else ''}")


def told_of(board: Leaderboard, entry: Entry) -> str:
    """What a trial reached, or how it ended without a value."""
    if not entry.values:
        return entry.verdict
    names = [name.rpartition("/")[2] if len(board.objectives) > 1 else name for name in board.objectives]
    return " ".join(f"{name} {number(value)}" for name, value in zip(names, entry.values, strict=True))


def base_cell(
    board: Leaderboard, drawn: Mapping[int, list[Sample]], prompt: int, drawing: tuple[int, Path]
) -> Cell | None:
    """The picture before the first step: the base model's, which all trials share.

    `drawn`: the previews of each trial; `drawing`: the side in pixels, and the study's folder.
    """
    side, folder = drawing
    for entry in board.entries:
        first = next((s for s in drawn[entry.number] if s.step == 0 and s.prompt == prompt), None)
        if first is None:
            continue
        value = () if board.base is None else (f"val/loss {number(board.base)}",)
        return Cell(kept_picture(first.file, side, kept_in(folder)), (_first_label(entry.folder), *value))
    return None


def _first_label(run: Path) -> str:
    return "before training" if starts_from_a_file(run) else "base model"


def _named(axis: Axis) -> str:
    return axis.key or "all trials"


def _notes(
    board: Leaderboard, axes: tuple[Axis, Axis], together: dict[tuple[int, int], list[Entry]], cells: Sequence[Cell]
) -> tuple[str, ...]:
    told = ["Framed: the best trial of the study."] if board.best is not None else []
    if any(len(entries) > 1 for entries in together.values()):
        told.append("Several trials share a cell: the best one of them is shown.")
    cut_short = [cell for cell in cells if cell.faded]
    if any(cell.picture is not None for cell in cut_short):
        told.append("Faded: trials that did not come to their end.")
    if any(cell.picture is None for cell in cut_short):
        told.append("Empty: trials that stopped before they drew one.")
    told += [f"{axis.left_out} values of {axis.key} have no place here." for axis in axes if axis.left_out]
    return (" ".join(told),) if told else ()


def _spread(steps: Sequence[int]) -> list[int]:
    """At most _MOST_STEPS of the steps, evenly spread, the first and the last among them."""
    if len(steps) <= _MOST_STEPS:
        return list(steps)
    return [steps[round(place * (len(steps) - 1) / (_MOST_STEPS - 1))] for place in range(_MOST_STEPS)]

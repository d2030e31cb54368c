"""A contact sheet: labelled pictures in rows and columns, drawn with Pillow."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_INK, _QUIET, _PAPER, _FRAME = "#1b1f24", "#667078", "#ffffff", "#d1495b"
_EMPTY, _CROSS = "#eceff1", "#d5dadd"
_FADING = 0.45
_TITLE = 20
_GAP, _EDGE, _BORDER = 8, 16, 4
_LEADING = 4
_SHEET_WIDTH = 1500
_SIDES = (96, 256)
"""Least and greatest side of a picture, in pixels."""

_MOST_LABEL, _MOST_LINES = 190, 6


@dataclass(frozen=True)
class Cell:
    """One picture with lines below it. `faded`: of a trial that did not come to its end; None: there is no picture."""

    picture: Image.Image | None
    lines: tuple[str, ...]
    framed: bool = False
    faded: bool = False


@dataclass(frozen=True)
class Grid:
    """What is on a sheet; `cells`: (row, column) -> cell, some may be missing; `beside`: left of them, on its own."""

    title: str
    subtitle: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[int, int], Cell]
    beside: Cell | None = None
    notes: tuple[str, ...] = ()


def _text_size(side: int) -> int:
    """Pixels of the text below pictures of this side: sheets of large ones are looked at from further away."""
    return 16 if side >= 170 else 12


def side_of(columns: int) -> int:
    """The side of the pictures in a sheet of so many columns, in pixels."""
    return max(_SIDES[0], min(_SIDES[1], (_SHEET_WIDTH - _MOST_LABEL) // max(1, columns) - _GAP))


def draw_sheet(grid: Grid, side: int) -> Image.Image:
    """The sheet as an image; pictures are at most `side` pixels wide and high. Text that does not fit is cut."""
    cells = [*grid.cells.values(), *([grid.beside] if grid.beside is not None else [])]
    text = _text_size(side)
    line = text + _LEADING
    high = max((cell.picture.height for cell in cells if cell.picture is not None), default=side)
    lines = max((len(cell.lines) for cell in cells), default=0)
    step = (side + _GAP + 2 * _BORDER, high + 2 * _BORDER + lines * line + _GAP)
    label = _label_width(grid.rows, text)
    first = _EDGE + (step[0] + 2 * _GAP if grid.beside is not None else 0)
    left = first + label + _GAP
    width = max(left + step[0] * len(grid.columns) + _EDGE, 360)
    head = _wrapped(grid.title, _TITLE, width - 2 * _EDGE)
    below = [part for said in (grid.subtitle, *grid.notes) for part in _wrapped(said, text, width - 2 * _EDGE)]
    tall = max((len(_wrapped(name, text, side)) for name in grid.columns), default=0)
    heading = _EDGE + len(head) * (_TITLE + _LEADING) + len(below) * line + _GAP
    top = heading + tall * line + _GAP
    sheet = Image.new("RGB", (width, top + step[1] * len(grid.rows) + _EDGE), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (_EDGE, _EDGE), head, (_TITLE, _INK))
    _write(pen, (_EDGE, _EDGE + len(head) * (_TITLE + _LEADING)), below, (text, _QUIET))
    for column, name in enumerate(grid.columns):
        _write(pen, (left + column * step[0] + _BORDER, heading), _wrapped(name, text, side), (text, _INK))
    for row, name in enumerate(grid.rows):
        _write(pen, (first, top + row * step[1] + _BORDER), _wrapped(name, text, label), (text, _INK))
    for (row, column), cell in grid.cells.items():
        _paste(sheet, cell, (left + column * step[0], top + row * step[1]), (side, high))
    if grid.beside is not None:
        _paste(sheet, grid.beside, (_EDGE, top), (side, high))
    return sheet


def _paste(sheet: Image.Image, cell: Cell, at: tuple[int, int], size: tuple[int, int]) -> None:
    """Draw a cell with its corner at a point, in a box for a picture of this size, with its lines below."""
    (left, top), (side, high) = at, size
    x, y = left + _BORDER, top + _BORDER
    pen = ImageDraw.Draw(sheet)
    if cell.framed:
        pen.rectangle((left, top, left + side + 2 * _BORDER - 1, top + high + 2 * _BORDER - 1), _FRAME)
    if cell.picture is None:
        pen.rectangle((x, y, x + side - 1, y + high - 1), _EMPTY)
        pen.line((x, y, x + side - 1, y + high - 1), _CROSS)
    else:
        pen.rectangle((x, y, x + side - 1, y + high - 1), _PAPER)
        paper = Image.new("RGB", cell.picture.size, _PAPER)
        picture = Image.blend(cell.picture, paper, _FADING) if cell.faded else cell.picture
        sheet.paste(picture, (x + (side - picture.width) // 2, y + (high - picture.height) // 2))
    text = _text_size(side)
    for place, line in enumerate(cell.lines):
        colour = (_FRAME if cell.framed else _INK) if place == 0 else _QUIET
        below = (x, top + high + 2 * _BORDER + place * (text + _LEADING))
        _write(pen, below, [_cut(line, text, side)], (text, colour))


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], lines: Sequence[str], style: tuple[int, str]) -> None:
    size, colour = style
    for place, line in enumerate(lines):
        pen.text((at[0], at[1] + place * (size + _LEADING)), line, colour, font(size))


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which Matplotlib brings: Latin, Greek, Cyrillic and signs."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def _label_width(texts: Sequence[str], size: int) -> int:
    longest = max((font(size).getlength(text) for text in texts), default=0)
    return min(_MOST_LABEL, round(longest) + 1)


def _wrapped(text: str, size: int, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken at spaces where there are any; at most _MOST_LINES."""
    lines: list[str] = []
    for word in " ".join(text.split()).split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) <= width:
            lines[-1] = longer
        elif word:
            lines.append(word)
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1]}…"]
    return [_cut(line, size, width) for line in lines]


def _cut(text: str, size: int, width: int) -> str:
    if font(size).getlength(text) <= width:
        return text
    kept = text
    while kept and font(size).getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept}…"

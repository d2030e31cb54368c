"""A study's report as one HTML file that needs nothing beside it: tables and pictures, with a script for looking."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from sweeplora.report.courses import Course, read_courses
from sweeplora.report.leaderboard import Entry, Leaderboard, table
from sweeplora.report.limits import limits_of, limits_of_objectives
from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.plain_json import json_text
from sweeplora.report.preference_section import preference_section
from sweeplora.report.sheets import Sheet
from sweeplora.report.summaries import shown_time
from sweeplora.report.words import clock, named_values, number
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import StudyRecord

_MADE_HERE = b'<meta name="generator" content="sweeplora report">'
_HEAD_BYTES = 1024
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_WIDEST = 1300
"""Pixels of a contact sheet in the page; the PNG beside it is larger."""

_UNSCRIPTED = "<noscript><p>This is drawn by the page's script, which this browser does not run.</p></noscript>"
_LINES = ("val/loss", "loss", "probe/loss")
_CLOCK = re.compile(r"\d+(:\d\d){1,2}")
_FIGURES = {
    "map": "The objective over two searched keys",
    "slices": "The objective over each searched key",
    "importances": "How much of the objective's variance each key explains alone",
    "history": "The objective by trial",
    "front": "The two objectives against each other; named trials are beaten in both by no other",
}


@dataclass(frozen=True)
class Content:
    """All that a page shows. `target`: where it is written, which its links start from."""

    study: StudyRecord
    state: str
    board: Leaderboard
    target: Path
    verdict: Sequence[str] = ()
    following: Sequence[tuple[str, str]] = ()
    """What to do next: a sentence, and the command or path for it (or none)."""
    command: str = ""
    value_sheets: Sequence[Sheet] = ()
    sheets: Sequence[Sheet] = ()
    trial_sheets: Sequence[Sheet] = ()
    figures: Sequence[Path] = ()
    courses: Mapping[int, Mapping[str, Course]] = field(default_factory=dict)
    """Number of a trial -> its losses over the steps, by metric."""
    written: float = 0.0
    notes: Sequence[str] = ()
    axes: str = ""
    """What the contact sheets are spanned by, and how to choose others."""


def page(content: Content) -> str:
    """The page as HTML. Whatever a person named (prompts, keys, messages, commands) is text in it, never markup."""
    parts = {
        "title": escape(content.study.study),
        "style": _resource("page.css"),
        "script": _resource("page.js"),
        "data": _json(_data(content)),
        "head": _head(content),
        "verdict": _verdict(content),
        "eyes": preference_section(content.board),
        "sheets": _sheets(content.value_sheets, "")
        + _hint(content.axes)
        + _sheets(content.sheets, "There are no previews to show (sample=none)."),
        "board": _board(content),
        "figures": _hint(_edge(content.board)) + _figures(content.figures),
        "trials": _sheets(content.trial_sheets, ""),
        "unscripted": _UNSCRIPTED,
        "next": _next(content.following),
        "command": f"<pre>{escape(content.command)}</pre>" if content.command else "<p>It was not recorded.</p>",
        "foot": f"Written {shown_time(content.written)}, from the run folders alone. This file makes no requests.",
    }
    return _SLOT.sub(lambda match: parts[match[1]], _resource("page.html"))


def is_page(file: Path) -> bool:
    """Whether a file is such a page."""
    with file.open("rb") as stream:
        return _MADE_HERE in stream.read(_HEAD_BYTES)


def _resource(name: str) -> str:
    return (resources.files("sweeplora.report") / "page_parts" / name).read_text(encoding="utf-8")


def _json(data: Mapping[str, Any]) -> str:
    """JSON inside a script element: no `<` in it, so that nothing ends the element."""
    text = json_text(data)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _head(content: Content) -> str:
    study, board = content.study, content.board
    counts = ", ".join(f"{count} {verdict}" for verdict, count in board.counts().items()) or "no trial yet"
    ended = f" to {shown_time(study.ended)}" if study.ended and content.state != "running" else ""
    facts = [
        f'<span class="state {escape(content.state)}">{escape(content.state)}</span>',
        escape(f"{counts} of {study.trials}" if study.trials else counts),
        escape(f"{shown_time(study.started)}{ended}"),
        escape(f"objective: {_objective(board)}, less is better"),
    ]
    notes = "".join(f'<p class="notice">{escape(note)}</p>' for note in content.notes)
    return f'<h1>{escape(study.study)}</h1><p class="facts">{" · ".join(facts)}</p>{notes}'


def _objective(board: Leaderboard) -> str:
    if board.objectives == (PREFERENCE,):
        return f"{PREFERENCE} (the share of decided comparisons with an average trial that are lost)"
    return ", ".join(board.objectives)


def _verdict(content: Content) -> str:
    best = content.board.best
    if best is None and content.board.objectives == (PREFERENCE,):
        return "<p>No trial was compared yet.</p>"
    if best is None:
        return "<p>No trial is complete yet.</p>"
    values = " · ".join(
        f"{name} {number(value)}" for name, value in zip(content.board.objectives, best.values, strict=True)
    )
    against = best.metrics.get("val/relative")
    base = f" ({100 * against:.1f} % of the base model's)" if against is not None else ""
    file = _link(content, best.weights, best.weights.name) if best.weights is not None else "its weights are gone"
    told = f'<p class="best">Best: <b>trial {best.number}</b>, {escape(named_values(best.params))} — '
    told += f"{escape(values)}{base} — {file}</p>"
    lines = "".join(f"<li>{escape(line)}</li>" for line in content.verdict)
    return f"{told}<ul>{lines}</ul>" if lines else told


def _sheets(sheets: Sequence[Sheet], otherwise: str) -> str:
    if not sheets:
        return f"<p>{escape(otherwise)}</p>" if otherwise else ""
    shown = "".join(
        f'<figure><img class="sheet" loading="lazy" src="{_jpeg(sheet.image)}" alt="{escape(sheet.caption)}" '
        'tabindex="0" role="button" title="larger, or as before: click or Enter">'
        f"<figcaption>{escape(sheet.caption)}</figcaption></figure>"
        for sheet in sheets
    )
    return f'<div class="sheets">{shown}</div>'


def _hint(text: str) -> str:
    return f'<p class="hint">{escape(text)}</p>' if text else ""


def _board(content: Content) -> str:
    header, rows = table(content.board)
    shown = header[:-2]  # the folder and the weights become links
    heads = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in shown)
    entries: list[Entry | None] = [*content.board.entries, None]
    body = []
    for row, entry in zip(rows, entries, strict=False):
        cells = "".join(f'<td data-v="{escape(_sortable(cell))}">{escape(cell)}</td>' for cell in row[: len(shown)])
        trial = "" if entry is None else f' data-trial="{entry.number}" tabindex="0"'
        links = "" if entry is None else _links(content, entry)
        kind = "base" if entry is None else escape(entry.verdict)
        failed = entry is not None and not entry.values and entry.message
        message = f'<span class="message">{escape(entry.message)}</span>' if entry is not None and failed else ""
        body.append(f'<tr class="{kind}"{trial}>{cells}<td>{links}{message}</td></tr>')
    head = f"<thead><tr>{heads}<th>open</th></tr></thead>"
    return f'<div class="wide"><table id="board">{head}<tbody>{"".join(body)}</tbody></table></div>'


def _links(content: Content, entry: Entry) -> str:
    found = [_link(content, entry.folder, "folder")]
    if entry.weights is not None:
        found.append(_link(content, entry.weights, "weights"))
    return " ".join(found) + " "


def _link(content: Content, path: Path, text: str) -> str:
    reference = quote(os.path.relpath(path, content.target.parent))
    # A name such as `a:b` would be read as an address.
    return f'<a href="./{escape(reference)}">{escape(text)}</a>'


def _sortable(cell: str) -> str:
    """What a cell is sorted by: a duration in seconds, a size as its number, anything else as it is."""
    if _CLOCK.fullmatch(cell):
        seconds = 0
        for part in cell.split(":"):
            seconds = 60 * seconds + int(part)
        return str(seconds)
    return cell.removesuffix(" MiB").partition(" % (")[0]


def _edge(board: Leaderboard) -> str:
    """What stands at the edge of a drawing instead of flattening the rest, empty if nothing does."""
    diverged = board.counts().get("diverged", 0)
    told = [f"{diverged} diverged trial{'s' * (diverged > 1)}"] if diverged else []
    ends = zip(board.objectives, limits_of_objectives(board), strict=True)
    told += [f"trials with {name} above {number(end)}" for name, end in ends if end is not None]
    return f"At the edge, not to scale: {' and '.join(told)}." if told else ""


def _figures(files: Sequence[Path]) -> str:
    by_name = {file.stem: file for file in files}
    shown = "".join(
        f'<figure><img src="data:image/png;base64,{base64.b64encode(by_name[name].read_bytes()).decode()}" '
        f'alt="{escape(said)}"><figcaption>{escape(said)}</figcaption></figure>'
        for name, said in _FIGURES.items()
        if name in by_name
    )
    return f'<div class="figures">{shown}</div>' if shown else "<p>Two complete trials are needed for a drawing.</p>"


def _next(following: Sequence[tuple[str, str]]) -> str:
    lines = "".join(
        f"<li>{escape(said)}{f'<pre>{escape(command)}</pre>' if command else ''}</li>" for said, command in following
    )
    return f"<ul>{lines}</ul>"


def _jpeg(image: Image.Image) -> str:
    if image.width > _WIDEST:
        image = image.resize((_WIDEST, round(image.height * _WIDEST / image.width)), reducing_gap=2.0)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=86)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def courses_of(board: Leaderboard) -> dict[int, dict[str, Course]]:
    """The losses over the steps of every trial, by number and metric, for a page's script to draw."""
    return {entry.number: read_courses(RunDir(entry.folder).metrics, _lines(board)) for entry in board.entries}


def _lines(board: Leaderboard) -> list[str]:
    return list(dict.fromkeys([*board.objectives, *_LINES]))


def _data(content: Content) -> dict[str, Any]:
    """What the script draws: the trials with their values, and their losses over the steps."""
    board = content.board
    keys = list(dict.fromkeys(key for entry in board.entries for key in entry.params))
    return {
        "objectives": board.objectives,
        "keys": [key for key in keys if len({entry.params.get(key) for entry in board.entries}) > 1],
        "base": board.base,
        "lines": _lines(board),
        "limits": limits_of(content.courses.values(), _lines(board)),
        "ends": limits_of_objectives(board),
        "trials": [
            {
                "number": entry.number,
                "state": entry.verdict,
                "values": entry.values,
                "params": dict(entry.params),
                "name": named_values(entry.params),
                "time": clock(entry.seconds),
                "lines": content.courses.get(entry.number, {}),
            }
            for entry in board.entries
        ],
    }

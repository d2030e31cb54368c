"""What came of a study: the leaderboard, read from the run folders, as lines, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.report.words import clock, number
from sweeplora.rundir.files import read_json, write_whole


@dataclass(frozen=True)
class Entry:
    """One trial of a leaderboard; `values` are its objectives, empty unless it completed."""

    number: int
    verdict: str
    values: tuple[float, ...]
    params: dict[str, Any]
    seconds: float
    folder: Path
    weights: Path | None
    message: str


@dataclass(frozen=True)
class Leaderboard:
    """The trials of a study, best first; those without a value come last, by number."""

    study: str
    objectives: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def best(self) -> Entry | None:
        """The first completed trial."""
        return next((entry for entry in self.entries if entry.values), None)

    def counts(self) -> dict[str, int]:
        """Verdict -> how many trials ended so."""
        counts: dict[str, int] = {}
        for entry in self.entries:
            counts[entry.verdict] = counts.get(entry.verdict, 0) + 1
        return counts


def read_leaderboard(folder: Path, study: str, objectives: tuple[str, ...]) -> Leaderboard:
    """The leaderboard of `runs/<study>/`; several objectives rank by how many other trials dominate one."""
    records = [(path.parent, read_json(path)) for path in sorted(folder.glob("*/trial.json"))]
    entries = [_entry(path, record) for path, record in records if record is not None]
    complete = [entry for entry in entries if entry.values]
    dominated = {e.number: sum(_dominates(other, e) for other in complete) for e in complete}

    def rank(entry: Entry) -> tuple[int, tuple[float, ...], int]:
        return (dominated.get(entry.number, len(entries)), entry.values, entry.number)

    return Leaderboard(study, objectives, tuple(sorted(entries, key=rank)))


def write_leaderboard(folder: Path, board: Leaderboard) -> None:
    """Put `leaderboard.csv` and `leaderboard.md` into the study's folder."""
    header, rows = table(board)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    write_whole(folder / "leaderboard.csv", text.getvalue())
    lines = [_markdown(header), _markdown(["---"] * len(header)), *(_markdown(row) for row in rows)]
    write_whole(folder / "leaderboard.md", "\n".join([f"# {board.study}", "", *lines, ""]))


def table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Header and rows, every cell a text."""
    keys = list(dict.fromkeys(key for entry in board.entries for key in entry.params))
    header = ["rank", "trial", *board.objectives, *keys, "status", "time", "folder", "weights"]
    rows = []
    for place, entry in enumerate(board.entries, 1):
        values = entry.values or (None,) * len(board.objectives)
        rows.append(
            [
                str(place) if entry.values else "",
                str(entry.number),
                *(f"{value:.6g}" if value is not None else "" for value in values),
                *(number(entry.params[key], "null") if key in entry.params else "" for key in keys),
                entry.verdict,
                clock(entry.seconds),
                entry.folder.name,
                entry.weights.name if entry.weights else "",
            ]
        )
    return header, rows


def lines(board: Leaderboard) -> list[str]:
    """The leaderboard for a terminal, in columns, without the long names of folders and files."""
    header, rows = table(board)
    cells = [row[:-2] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _entry(folder: Path, record: dict[str, Any]) -> Entry:
    value = record.get("value")
    values = tuple(value) if isinstance(value, list) else () if value is None else (value,)
    complete = record["verdict"] == "complete"
    weights = (read_json(folder / "result.json") or {}).get("weights") if complete else None
    attempts = record.get("attempts", [])
    seconds = sum(a["ended"] - a["started"] for a in attempts if a["ended"] is not None)
    return Entry(
        number=record["number"],
        verdict=record["verdict"],
        values=values if complete else (),
        params=record["params"],
        seconds=seconds,
        folder=folder,
        weights=folder / weights if weights else None,
        message=record.get("message") or (attempts[-1].get("message", "") if attempts else ""),
    )


def _dominates(one: Entry, other: Entry) -> bool:
    pairs = list(zip(one.values, other.values, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

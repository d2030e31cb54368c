"""The part of a study's report on what a person prefers: a ranking with its doubt, as HTML."""

from __future__ import annotations

from html import escape

from sweeplora.report.leaderboard import Entry, Leaderboard
from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.preference_words import preference_lines
from sweeplora.report.preferences import Preferred
from sweeplora.report.words import named_values, number


def preference_section(board: Leaderboard) -> str:
    """Sentences, and a row for each compared trial, the favourite first; how to begin where nothing was compared."""
    command = f"python -m sweeplora prefer {board.study}"
    found = board.preferences
    if found is None or not found.of:
        return (
            "<p>Nothing was compared yet. This command shows the previews of two trials at a time, and ranks the "
            f"trials by what you pick:</p><pre>{escape(command)}</pre>"
        )
    entries = {entry.number: entry for entry in board.entries}
    ranked = sorted(found.of, key=lambda number_: -found.of[number_].share)
    name = "val/loss" if board.objectives == (PREFERENCE,) else board.objectives[0]
    heads = ("trial", "values", "wins", "95 % interval", "the best", "comparisons", name)
    head = "".join(f'<th scope="col">{escape(word)}</th>' for word in heads)
    rows = "".join(_row(entries[one], found.of[one], board) for one in ranked)
    lines = "".join(f"<li>{escape(line)}</li>" for line in preference_lines(board))
    return (
        f'<ul>{lines}</ul><p class="hint">Wins: the share of decided comparisons with an average trial that a trial '
        "wins. The best: the probability that it is the best of all for you. A Bradley-Terry model with ties "
        f'(Davidson 1970).</p><div class="wide"><table id="preferences"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(entry: Entry, stands: Preferred, board: Leaderboard) -> str:
    low, high = 100 * stands.low, 100 * stands.high
    bar = (
        f'<span class="span"><i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<b style="left:{100 * stands.share:.1f}%"></b></span> {low:.0f} to {high:.0f} %'
    )
    measured = entry.metrics.get("val/loss") if board.objectives == (PREFERENCE,) else next(iter(entry.values), None)
    cells = (
        str(entry.number),
        escape(named_values(entry.params)),
        f"{100 * stands.share:.0f} %",
        bar,
        f"{100 * stands.chance:.0f} %",
        str(stands.comparisons),
        escape(number(measured)),
    )
    return f'<tr data-trial="{entry.number}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'

"""The night in Markdown, for a terminal's pipe and a CI's summary of the step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sweeplora.nightly.criterion import Criterion, Verdict, worst_first
from sweeplora.nightly.report import Report, headline
from sweeplora.report.leaderboard import markdown as table
from sweeplora.report.words import clock, number

_HEADER = ("verdict", "configuration", "metric", "baseline", "now", "change", "90 % interval", "limit", "p", "seeds")


def markdown(report: Report) -> str:
    """The verdict, a table of every criterion, the worst first, and what differs from the baselines."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"## {headline(report)}"
    yield ""
    yield f"{report.night.text}; {len(report.seeds)} configurations in {clock(report.seconds)}"
    yield ""
    yield table(_HEADER, [_row(one) for one in worst_first(report.criteria)])
    yield ""
    wrong = [one for one in worst_first(report.criteria) if one.verdict is not Verdict.PASS]
    yield from (f"- **{one.verdict.value}** {one.configuration} {one.metric}: {_plain(one.sentence)}" for one in wrong)
    if wrong:
        yield ""
    for name, reason in report.left_out.items():
        yield f"- {name} was left out: {_plain(reason)}"
    yield from (f"- {_plain(note)}" for note in report.notes)
    for link, names in _by_link(report):
        yield f"- baseline of {', '.join(names)}: {_plain(link)}"
    for told, names in _by_difference(report):
        yield f"- different from the baseline of {', '.join(names)}: {_plain(told)}"


def _row(one: Criterion) -> list[str]:
    interval = "" if one.interval is None else f"{_percent(one.interval[0])} to {_percent(one.interval[1])}"
    return [
        one.verdict.value,
        one.configuration,
        one.metric,
        number(one.baseline, ""),
        number(one.now, ""),
        "" if one.effect is None else _percent(one.effect),
        interval,
        "" if one.limit is None else f"{100 * one.limit:.2f} %",
        "" if one.corrected is None else f"{one.corrected:.2g}",
        str(one.seeds or ""),
    ]


def _percent(value: float) -> str:
    return f"{100 * value:+.2f} %" if math.isfinite(value) else str(value)


def _by_link(report: Report) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name, link in report.baselines.items():
        found.setdefault(link.text, []).append(name)
    return list(found.items())


def _by_difference(report: Report) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name, differences in report.differences.items():
        for told in differences:
            found.setdefault(told, []).append(name)
    return list(found.items())


def _plain(text: str) -> str:
    """Text of a training on one line, in which Markdown marks nothing up."""
    return " ".join(text.replace("<", "&lt;").replace("`", "'").split())

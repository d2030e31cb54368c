"""The page of trends: every metric of every configuration over the nights, with its change points, in one file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from sweeplora.nightly.change_points import ChangePoint, change_points
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.report import Report, headline
from sweeplora.report.summaries import shown_time
from sweeplora.report.words import clock, number

_WIDTH, _HEIGHT, _EDGE = 560, 120, 12
_MOST_NIGHTS = 200


@dataclass(frozen=True)
class Series:
    """One metric of one configuration: nights (places in the page's list) with their criteria, oldest first."""

    configuration: str
    metric: str
    places: tuple[int, ...]
    criteria: tuple[Criterion, ...]

    @property
    def values(self) -> list[float]:
        """What was measured."""
        return [one.now for one in self.criteria if one.now is not None]

    @property
    def changes(self) -> list[ChangePoint]:
        """The changes of level, by the place in `values`."""
        return change_points(self.values)


def series_of(reports: Sequence[Report]) -> list[Series]:
    """Every metric that has numbers, by configuration, in the order in which they first appeared."""
    found: dict[tuple[str, str], list[tuple[int, Criterion]]] = {}
    for place, report in enumerate(reports):
        for one in report.criteria:
            if one.now is not None and math.isfinite(one.now):
                found.setdefault((one.configuration, one.metric), []).append((place, one))
    return [
        Series(*key, tuple(place for place, _ in points), tuple(one for _, one in points))
        for key, points in found.items()
    ]


def trend_page(reports: Sequence[Report]) -> str:
    """The page as HTML that asks for nothing: drawings are SVG, there is no script. `reports`: oldest first."""
    shown = list(reports)[-_MOST_NIGHTS:]
    last = shown[-1]
    parts = {
        "title": escape(f"nights to {last.night.study}"),
        "style": _resource("trend.css"),
        "head": _head(last, len(shown)),
        "changes": _changes(series_of(shown), shown),
        "series": "\n".join(_sections(series_of(shown), shown)),
        "nights": _nights(shown),
        "foot": escape(
            f"Written {shown_time(last.ended)} from the reports of the nights. This file makes no requests."
        ),
    }
    page = _resource("trend.html")
    for name, text in parts.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    return page


def _resource(name: str) -> str:
    return (resources.files("sweeplora.nightly") / "page_parts" / name).read_text(encoding="utf-8")


def _head(last: Report, count: int) -> str:
    verdict = last.verdict.value
    facts = [
        f'<span class="verdict {verdict}">{verdict}</span>',
        escape(last.night.text),
        escape(f"{shown_time(last.started)}, {clock(last.seconds)}"),
        f"{count} nights" if count > 1 else "the first night",
    ]
    told = "" if last.verdict is Verdict.PASS else f"<p>{escape(headline(last))}</p>"
    return f'<h1>Nights</h1><p class="facts">{" · ".join(facts)}</p>{told}'


def _changes(every: Sequence[Series], reports: Sequence[Report]) -> str:
    """A line for each change of level, newest first."""
    found = []
    for series in every:
        for change in series.changes:
            place = series.places[change.index]
            moved = change.after / change.before - 1 if change.before else math.inf
            found.append((place, series, change, moved))
    if not found:
        return "<p>No metric changed its level.</p>"
    rows = [
        f"<tr><td>{escape(reports[place].night.study)}</td><td>{escape(reports[place].night.commit[:10])}</td>"
        f'<td><a href="#{_anchor(series)}">{escape(series.configuration)} {escape(series.metric)}</a></td>'
        f"<td>{number(change.before)}</td><td>{number(change.after)}</td><td>{100 * moved:+.2f} %</td>"
        f"<td>{change.p:.2g}</td></tr>"
        for place, series, change, moved in sorted(found, key=lambda one: -one[0])
    ]
    head = "<tr><th>since</th><th>commit</th><th>metric</th><th>before</th><th>after</th><th>change</th><th>p</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _sections(every: Sequence[Series], reports: Sequence[Report]) -> Iterator[str]:
    """The drawings, one configuration after the other."""
    for name in dict.fromkeys(series.configuration for series in every):
        drawn = "".join(_drawing(series, reports) for series in every if series.configuration == name)
        yield f"<section><h2>{escape(name)}</h2><div class='drawings'>{drawn}</div></section>"


def _drawing(series: Series, reports: Sequence[Report]) -> str:
    """One metric over the nights: points with their verdict, the baseline's level dashed, changes as upright lines."""
    levels = [one.baseline for one in series.criteria if one.baseline is not None]
    low, high = min([*series.values, *levels]), max([*series.values, *levels])
    room = (high - low) or abs(high) * 0.02 or 1.0
    low, high = low - 0.15 * room, high + 0.15 * room
    span = max(1, len(reports) - 1)

    def x(place: int) -> float:
        return _EDGE + (_WIDTH - 2 * _EDGE) * (place / span if len(reports) > 1 else 0.5)

    def y(value: float) -> float:
        return _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * (value - low) / (high - low)

    points = list(zip(series.places, series.criteria, series.values, strict=True))
    course = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, _, value in points)
    level = [(x(place), y(one.baseline)) for place, one, _ in points if one.baseline is not None]
    if len(level) == 1:  # a line of one point is none
        level = [(float(edge), level[0][1]) for edge in (_EDGE, _WIDTH - _EDGE)]
    baseline = " ".join(f"{across:.1f},{down:.1f}" for across, down in level)
    changes = "".join(
        f'<line class="change" x1="{x(series.places[one.index]):.1f}" x2="{x(series.places[one.index]):.1f}" '
        f'y1="2" y2="{_HEIGHT - 2}"/>'
        for one in series.changes
    )
    dots = "".join(
        f'<circle class="{one.verdict.value}" cx="{x(place):.1f}" cy="{y(value):.1f}" r="3">'
        f"<title>{escape(f'{reports[place].night.study}: {one.verdict.value}, {one.sentence}')}</title></circle>"
        for place, one, value in points
    )
    last = series.criteria[-1]
    told = f"{number(last.now)}" + (f", {100 * last.effect:+.2f} %" if last.effect is not None else "")
    if series.places[-1] < len(reports) - 1:
        told = f"{told} in {reports[series.places[-1]].night.study}, not judged since"
    return (
        f'<figure id="{_anchor(series)}"><figcaption>{escape(series.metric)} <b>{escape(told)}</b></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(series.metric)} over the nights">'
        f'{changes}<polyline class="baseline" points="{baseline}"/><polyline class="course" points="{course}"/>'
        f"{dots}</svg></figure>"
    )


def _nights(reports: Sequence[Report]) -> str:
    rows = [
        f"<tr><td>{escape(one.night.study)}</td>"
        f'<td><span class="verdict {one.verdict.value}">{one.verdict.value}</span></td>'
        f"<td>{escape(one.night.commit[:10])}</td><td>{shown_time(one.started)}</td><td>{clock(one.seconds)}</td>"
        f"<td>{escape(headline(one))}</td></tr>"
        for one in reversed(reports)
    ]
    head = "<tr><th>night</th><th>verdict</th><th>commit</th><th>began</th><th>took</th><th>what</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _anchor(series: Series) -> str:
    return escape(f"{series.configuration}-{series.metric}".replace("/", "-"))

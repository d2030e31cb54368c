"""The reports of a night in its folder: JSON, JUnit XML, Markdown, the page of trends, and the record's verdict."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from sweeplora.nightly.baseline import Baseline, text_of
from sweeplora.nightly.criterion import Verdict
from sweeplora.nightly.folder import REPORTS, NightFolder, nights
from sweeplora.nightly.junit import junit
from sweeplora.nightly.markdown import markdown
from sweeplora.nightly.report import Report, as_data, headline, read_data
from sweeplora.nightly.trend import trend_page
from sweeplora.report.verdict import VERDICT
from sweeplora.rundir.files import read_sealed, sealed, write_json, write_whole
from sweeplora.rundir.folder import MIRROR

JUNIT, MARKDOWN, TREND = "junit.xml", "report.md", "trend.html"
BASELINES = "baselines"
"""The folder beside them with the files that the night was compared with."""

SUMMARY = "GITHUB_STEP_SUMMARY"
_LINK_SECONDS = 60.0


def write_report(night: NightFolder, report: Report) -> None:
    """Write every form of the report; a later call replaces them. The trend page is of a finished night only."""
    night.reports.mkdir(parents=True, exist_ok=True)
    write_json(night.report, sealed(as_data(report)))
    write_whole(night.reports / JUNIT, junit(report))
    write_whole(night.reports / MARKDOWN, markdown(report))
    write_json(night.path / VERDICT, {"lines": list(lines_of(report))})
    if report.finished:
        write_whole(night.reports / TREND, trend_page(earlier(night.path.parent, report)))


def write_baselines(night: NightFolder, baselines: Iterable[Baseline]) -> None:
    """Keep the files that a night is compared with: its record then has both sides, wherever it is read."""
    for one in baselines:
        file = night.reports / BASELINES / one.file_name
        file.parent.mkdir(exist_ok=True)
        write_whole(file, text_of(one))


def earlier(runs: Path, last: Report) -> list[Report]:
    """The reports of every finished night, oldest first, ending with this one; damaged reports are passed over."""
    found = []
    for night in nights(runs):
        content = night.read_report()
        report = read_data(content) if content is not None and content.get("finished") else None
        if report is not None and report.night.study != last.night.study:
            found.append(report)
    return [*(one for one in found if one.started <= last.started), last]


def lines_of(report: Report) -> list[str]:
    """The verdict in sentences, for the note of the night's MLflow run, with links to both sides."""
    told = [f"{headline(report)}" if report.finished else "INFRA: the night is not finished"]
    told += [one.line for one in report.criteria if one.verdict is not Verdict.PASS]
    told.append(f"night: {report.night.text}")
    told += [f"baseline: {text}" for text in dict.fromkeys(link.text for link in report.baselines.values())]
    if report.baselines:
        told.append(f"the baselines' files are artifacts of this run: {REPORTS}/{BASELINES}/")
    return told


def append_summary(report: Report) -> None:
    """Append the Markdown to the summary of a CI's step, where there is one."""
    file = os.environ.get(SUMMARY)
    if file:
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(markdown(report))


def wait_for_link(study: Path, goes_on: Callable[[], bool]) -> None:
    """Wait until a study is in the record: a short night is over before the mirror has begun, and reports name its run.

    Gives up as soon as `goes_on` says so, and after a while.
    """
    until = time.monotonic() + _LINK_SECONDS
    while goes_on() and not link_of(study) and time.monotonic() < until:
        time.sleep(0.1)


def link_of(study: Path) -> str:
    """Where the MLflow run of a study is: a page of its server, or of `python -m sweeplora ui`; empty without one."""
    sent = read_sealed(study / MIRROR) or {}
    run, store = sent.get("run_id"), str(sent.get("store", ""))
    if not run:
        return ""
    address = store.partition("|")[0]
    return f"{address.rstrip('/')}/#/runs/{run}" if address.startswith("http") else f"#/runs/{run}"

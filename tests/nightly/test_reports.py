"""The forms of a report: JUnit read back by a JUnit parser, Markdown, JSON, and the page of trends."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped, TestSuite

from sweeplora.nightly.baseline import read_baseline
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.junit import junit
from sweeplora.nightly.markdown import markdown
from sweeplora.nightly.report import Link, Report, as_data, from_data
from sweeplora.nightly.trend import series_of, trend_page
from tests.nightly.nights import last, night, prepare, with_baseline
from tests.record.mlflow_store import Contents

WORSE = Criterion(
    "locon", "val/loss", Verdict.REGRESSED, "worse <b>&\x00\x1b", 0.1, 0.105, 0.05, (0.03, 0.07), 1e-4, 2e-3, 0.01, 5
)


def report(*criteria: Criterion, name: str = "nightly-1", started: float = 1.7e9) -> Report:
    link = Link(name, "1a2b3c4d5e6f+changes", "http://server/#/runs/abc")
    return Report(
        night=link,
        started=started,
        ended=started + 60,
        seconds=60.0,
        finished=True,
        criteria=criteria,
        left_out={"fp16": "it needs 1 gpus, this machine has 0"},
        differences={"locon": ("optimizer.lr 0.002 -> 0.004",)},
        baselines={"locon": Link("nightly-0", "0f0f0f", "")},
        seeds={"locon": 5},
    )


ALL = report(
    WORSE,
    Criterion("locon", "canary", Verdict.PASS, "the same"),
    Criterion("dora", "baseline", Verdict.NO_BASELINE, "none"),
    Criterion("lokr", "trainings", Verdict.INFRA, "killed | by `x`"),
    Criterion("sd15", "val/loss", Verdict.INCONCLUSIVE, "unclear", effect=math.inf),
)


def test_a_junit_parser_reads_every_case_with_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(junit(ALL))
    (suite,) = JUnitXml.fromfile(str(file))
    assert isinstance(suite, TestSuite)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 1, 3, 1)
    cases = {(case.classname, case.name): case for case in suite}
    kinds = {key: [type(one) for one in case.result] for key, case in cases.items()}
    assert kinds == {
        ("locon", "val/loss"): [Failure],
        ("locon", "canary"): [],
        ("dora", "baseline"): [Error],
        ("lokr", "trainings"): [Error],
        ("sd15", "val/loss"): [Error],
        ("fp16", "left out"): [Skipped],
    }
    written = ElementTree.parse(file).find(".//testcase[@name='val/loss']/properties")
    assert written is not None
    properties = {one.attrib["name"]: one.attrib["value"] for one in written}
    assert float(properties["effect"]) == 0.05
    assert (float(properties["interval_low"]), float(properties["interval_high"])) == (0.03, 0.07)
    assert (float(properties["p"]), float(properties["p_corrected"])) == (1e-4, 2e-3)
    assert "worse <b>&" in (cases["locon", "val/loss"].system_out or "")


def test_json_gives_the_report_back() -> None:
    assert from_data({key: value for key, value in as_data(ALL).items() if key != "verdict"}) == ALL
    assert as_data(ALL)["verdict"] == "REGRESSED"


def test_markdown_has_the_worst_first_and_both_sides() -> None:
    text = markdown(ALL)
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        *("REGRESSED", "INFRA", "NO_BASELINE", "INCONCLUSIVE", "PASS")
    ]
    assert "| +5.00 % | +3.00 % to +7.00 % | 1.00 % | 0.002 | 5 |" in rows[0]
    assert "nightly-1, commit 1a2b3c4d5e+changes, http://server/#/runs/abc" in text
    assert "- baseline of locon: nightly-0, commit 0f0f0f" in text
    assert "- different from the baseline of locon: optimizer.lr 0.002 -> 0.004" in text
    assert "<b>" not in text


def test_the_trend_page_marks_the_change_of_level_and_asks_for_nothing() -> None:
    def measured(place: int) -> Criterion:
        now = (0.1 if place < 6 else 0.104) + 1e-5 * (place % 3)
        verdict = Verdict.PASS if place < 6 else Verdict.REGRESSED
        return Criterion("locon", "val/loss", verdict, "<said>", baseline=0.1, now=now, effect=now / 0.1 - 1)

    reports = [report(measured(place), name=f"nightly-{place}", started=1.7e9 + place) for place in range(10)]
    page = trend_page(reports)
    (series,) = series_of(reports)
    assert [change.index for change in series.changes] == [6]
    assert page.count('class="change"') == 1
    assert page.count("<circle") == 10
    assert "<said>" not in page and "{{" not in page and "<script" not in page
    assert "src=" not in page and "http" not in page.replace("http://server", "").replace("http-equiv", "")
    changes = page[page.index('id="changes"') : page.index('id="series"')]
    assert "nightly-6" in changes and "+4.0" in changes
    body = page[page.index("<body>") : page.index("</body>") + 7]
    ElementTree.fromstring(body)  # every element is closed
    (level,) = re.findall(r'class="baseline" points="([^"]+)"', trend_page(reports[:1]))
    assert "not judged since" not in page
    later = trend_page([*reports, report(name="nightly-10", started=1.8e9)])
    assert "in nightly-9, not judged since" in later
    assert len(level.split()) == 2  # the first night's point, too, has the baseline's level beside it


def test_a_night_leaves_every_form_and_the_summary_of_a_ci(
    accepted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    prepare(tmp_path)
    for name in ("baselines", "runs"):
        shutil.copytree(accepted / name, tmp_path / name)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, said = night(tmp_path)
    found = {path.name for path in last(tmp_path).reports.iterdir()}
    assert found == {"question.json", "sides.json", "report.json", "report.md", "junit.xml", "trend.html", "baselines"}
    kept = {path.name: path.read_text() for path in (last(tmp_path).reports / "baselines").iterdir()}
    assert kept == {path.name: path.read_text() for path in (tmp_path / "baselines").iterdir()}
    assert summary.read_text() == (last(tmp_path).reports / "report.md").read_text()
    assert code == 0 and all(line in said for line in summary.read_text().splitlines())
    (suite,) = JUnitXml.fromfile(str(last(tmp_path).reports / "junit.xml"))
    assert (suite.tests, suite.failures, suite.errors) == (6, 0, 0)
    assert "2 nights" in (last(tmp_path).reports / "trend.html").read_text()


@pytest.mark.slow
def test_the_nights_mlflow_run_has_the_verdict_links_to_both_sides_and_every_report(tmp_path: Path) -> None:
    with_baseline(tmp_path)
    code, said = night(tmp_path, "tracking=mlflow", "tracking.workspace=false")
    assert code == 0, said
    contents = Contents(f"sqlite:///{tmp_path}/runs/mlflow.db")
    parent = next(run for run in contents.runs().values() if run.data.tags["sweeplora.kind"] == "sweep")
    note = parent.data.tags["mlflow.note.content"]
    accepted = next((tmp_path / "baselines").glob("*.json"))
    assert f"night: {last(tmp_path).path.name}" in note and f"#/runs/{parent.info.run_id}" in note
    assert f"baseline: {read_baseline(accepted).accepted.study}, " in note
    assert note.startswith("- PASS")
    names = ("report.json", "report.md", "junit.xml", "trend.html")
    files = [f"baselines/{path.name}" for path in (tmp_path / "baselines").glob("*.json")]
    assert len(files) == 2 and {f"nightly/{name}" for name in (*names, *files)} <= contents.files(parent)
    assert len(contents.runs()) == 11

"""The night as JUnit XML, which every CI reads: a test case for each configuration and metric, with its numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.report import Report

_KINDS = {
    Verdict.REGRESSED: "failure",
    Verdict.INFRA: "error",
    Verdict.NO_BASELINE: "error",
    Verdict.INCONCLUSIVE: "error",
}
"""REGRESSED fails; what could not be told is an error: a CI passes neither, and neither does the exit code."""


def junit(report: Report) -> str:
    """The document. A configuration that was left out is a skipped case."""
    root = ElementTree.Element("testsuites", name="sweeplora nightly")
    suite = ElementTree.SubElement(root, "testsuite", name=report.night.study)
    when = datetime.fromtimestamp(report.started, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
    counts = {"failure": 0, "error": 0}
    properties = ElementTree.SubElement(suite, "properties")
    _property(properties, "verdict", report.verdict.value)
    _property(properties, "commit", report.night.commit)
    _property(properties, "run", report.night.run)
    for criterion in report.criteria:
        kind = _KINDS.get(criterion.verdict)
        if kind is not None:
            counts[kind] += 1
        _case(suite, criterion, report)
    for name, reason in report.left_out.items():
        case = ElementTree.SubElement(suite, "testcase", classname=name, name="left out", time="0")
        ElementTree.SubElement(case, "skipped", message=_clean(reason))
    total = len(report.criteria) + len(report.left_out)
    for element in (root, suite):
        element.set("tests", str(total))
        element.set("failures", str(counts["failure"]))
        element.set("errors", str(counts["error"]))
        element.set("time", f"{report.seconds:.3f}")
    suite.set("skipped", str(len(report.left_out)))
    suite.set("timestamp", when)
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, criterion: Criterion, report: Report) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=criterion.configuration, name=criterion.metric, time="0")
    properties = ElementTree.SubElement(case, "properties")
    low, high = criterion.interval or (None, None)
    numbers = {
        "verdict": criterion.verdict.value,
        "baseline": criterion.baseline,
        "now": criterion.now,
        "effect": criterion.effect,
        "interval_low": low,
        "interval_high": high,
        "p": criterion.p,
        "p_corrected": criterion.corrected,
        "limit": criterion.limit,
        "seeds": criterion.seeds,
    }
    for name, value in numbers.items():
        if value is not None:
            _property(properties, name, value if isinstance(value, str) else repr(value))
    kind = _KINDS.get(criterion.verdict)
    if kind is not None:
        verdict = criterion.verdict.value
        found = ElementTree.SubElement(case, kind, type=verdict, message=_clean(f"{verdict}: {criterion.sentence}"))
        found.text = _clean("\n".join(report.differences.get(criterion.configuration, ())))
    ElementTree.SubElement(case, "system-out").text = _clean(criterion.line)


def _property(properties: ElementTree.Element, name: str, value: str) -> None:
    ElementTree.SubElement(properties, "property", name=name, value=_clean(value))


def _clean(text: str) -> str:
    """The text without what XML 1.0 cannot hold: control characters, from a training's last words perhaps."""
    return "".join(
        letter
        if letter in "\t\n" or " " <= letter < "\ud800" or "\ue000" <= letter <= "\ufffd" or letter > "\uffff"
        else "?"
        for letter in text
    )

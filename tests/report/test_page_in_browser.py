"""report.html in a real browser: what a person can do there, and that no request leaves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.watched import Watched
from tests.report.studies import BASE, a_preview, a_study, a_trial

pytestmark = pytest.mark.browser


class Report(Watched):
    """A browser that reads a report."""

    def rows(self) -> list[str]:
        """The trials of the leaderboard, from the top."""
        script = "JSON.stringify([...document.querySelectorAll('#board tbody tr')].map(r => r.dataset.trial || 'base'))"
        found: list[str] = json.loads(self.evaluate(script))
        return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of six trials over three keys, one of which is a group."""
    from sweeplora.report.study_report import write_report
    from sweeplora.rundir.record import read_study

    study = a_study(tmp_path_factory.mktemp("page"))
    for number, value in enumerate((0.3, 0.1, 0.25, 0.2, 0.15, None)):
        params = {"network.dim": 2 << number % 3, "optimizer.lr": 10.0**-number, "optimizer": "ab"[number % 2] * 3}
        run = a_trial(study, number, params, value, "failed" if value is None else "complete")
        a_preview(run, 0, BASE)
        a_preview(run, 20, (20 * number, 90, 90))
    record = read_study(study)
    assert record is not None
    return write_report(study, record, "finished", 1_700_000_000.0).page


@pytest.fixture(params=[1600, 800])
def browser(page: Path, request: pytest.FixtureRequest) -> Iterator[Report]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Report(Path(profile), request.param)
        try:
            opened.go(page.as_uri(), "document.querySelectorAll('#courses path.trial').length > 0")
            yield opened
        finally:
            opened.close()


def test_a_person_sorts_marks_and_narrows_down_and_no_request_leaves(browser: Report, page: Path) -> None:
    assert browser.rows() == ["1", "4", "3", "2", "0", "5", "base"]
    browser.press("#board th:nth-child(2) button")
    assert browser.rows() == ["0", "1", "2", "3", "4", "5", "base"]
    browser.press("#board th:nth-child(2) button")
    assert browser.rows() == ["5", "4", "3", "2", "1", "0", "base"]

    browser.press("#board tr[data-trial='3'] td")
    assert browser.evaluate("document.querySelectorAll('#parallel path.marked, #courses path.marked').length") == 2
    assert "trial 3" in browser.evaluate("document.getElementById('reading').textContent")

    browser.evaluate("document.getElementById('parallel').scrollIntoView({block: 'center'})")
    box = "(b => JSON.stringify([b.left + b.width / 2, b.top, b.bottom]))"
    areas = "document.querySelectorAll('#parallel rect.range')"
    x, top, bottom = json.loads(browser.evaluate(f"{box}([...{areas}].pop().getBoundingClientRect())"))
    for kind, y in (
        ("mousePressed", (top + bottom) / 2 - 12),
        ("mouseMoved", bottom - 4),
        ("mouseReleased", bottom - 4),
    ):
        pressed = 0 if kind == "mouseReleased" else 1
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=pressed, clickCount=1)
    dropped = "JSON.stringify([...document.querySelectorAll('#board tr.dropped')].map(r => r.dataset.trial).sort())"
    assert json.loads(browser.evaluate(dropped)) == ["0", "2", "5"]  # the lower half of val/loss is kept

    assert not browser.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    browser.until("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert {address.partition(":")[0] for address in browser.asked} <= {"file", "data", "about"}
    assert [address for address in browser.asked if address.startswith("file:")] == [page.as_uri()]
    assert browser.complaints == []


def test_the_leaderboard_is_sorted_and_a_trial_marked_with_the_keyboard_alone(browser: Report) -> None:
    focused = "document.activeElement"
    for _ in range(60):
        browser.key("Tab")
        if browser.evaluate(f"{focused}.closest('#board') !== null && {focused}.textContent === 'trial'"):
            break
    assert browser.evaluate(f"{focused}.textContent") == "trial"
    browser.key("Enter")
    assert browser.rows() == ["0", "1", "2", "3", "4", "5", "base"]
    browser.key(" ")
    assert browser.rows() == ["5", "4", "3", "2", "1", "0", "base"]
    for _ in range(30):
        browser.key("Tab")
        if browser.evaluate(f"{focused}.tagName === 'TR'"):
            break
    browser.key("Enter")
    assert browser.evaluate("document.querySelectorAll('#board tr.marked').length") == 1
    assert "trial 5" in browser.evaluate("document.getElementById('reading').textContent")
    assert browser.complaints == [] and browser.elsewhere == []


def test_an_axis_keeps_trials_and_a_sheet_grows_with_the_keyboard_alone(browser: Report) -> None:
    dropped = "JSON.stringify([...document.querySelectorAll('#board tr.dropped')].map(r => r.dataset.trial).sort())"
    browser.evaluate("[...document.querySelectorAll('#parallel rect.range')].pop().focus()")  # that of val/loss
    browser.key("ArrowUp")
    assert json.loads(browser.evaluate(dropped)) == ["0", "2", "3", "4", "5"]  # the lowest value, trial 1, is kept
    assert browser.evaluate("document.getElementById('reading').textContent") == "val/loss: 0.1"
    browser.key("ArrowUp")
    assert json.loads(browser.evaluate(dropped)) == ["0", "1", "2", "3", "5"]
    browser.key("ArrowUp", shift=True)
    assert json.loads(browser.evaluate(dropped)) == ["0", "1", "2", "5"]
    assert browser.evaluate("document.activeElement.getAttribute('aria-valuetext')") == "0.15 to 0.2"
    browser.key("Escape")
    assert json.loads(browser.evaluate(dropped)) == []
    browser.evaluate("document.querySelector('.sheet').focus()")
    width = browser.evaluate("document.querySelector('.sheet').parentNode.classList.contains('large')")
    browser.key("Enter")
    assert not width and browser.evaluate("document.activeElement.parentNode.classList.contains('large')")
    assert browser.complaints == []


def test_on_paper_the_leaderboard_is_not_cut_and_what_a_pointer_needs_is_left_out(browser: Report) -> None:
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("document.getElementById('board').scrollWidth <= innerWidth")
    assert browser.evaluate("[...document.querySelectorAll('.hint, .choices')].every(e => e.offsetHeight === 0)")


@pytest.fixture(scope="module")
def astray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two good trials, one that ended at a million, and one that diverged at step 2."""
    from sweeplora.report.study_report import write_report
    from sweeplora.rundir.record import read_study

    study = a_study(tmp_path_factory.mktemp("astray"))
    for number, value in enumerate((0.1, 0.12, 1e6, None)):
        run = a_trial(study, number, {"network.dim": 2 << number}, value, "diverged" if value is None else "complete")
        if value is None:
            lines = run.metrics.read_text().splitlines(keepends=True)[:2]
            run.metrics.write_text("".join(lines) + json.dumps({"step": 2, "time": 1, "values": {"loss": 1e30}}) + "\n")
    record = read_study(study)
    assert record is not None
    return write_report(study, record, "finished", 1_700_000_000.0).page


def test_trials_that_went_astray_do_not_flatten_the_drawings(astray: Path) -> None:
    heights = (
        "JSON.stringify([0, 1, 2, 3].map(n => document.querySelector(`#{} path.trial[data-trial='${{n}}']`))"
        ".map(p => p.getPointAtLength(p.getTotalLength()).y))"
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Report(Path(profile))
        try:
            browser.go(astray.as_uri(), "document.querySelectorAll('#courses path.trial').length > 0")
            for where in ("parallel", "courses"):
                good, second, million, diverged = json.loads(browser.evaluate(heights.format(where)))
                assert good - second > 10, f"{where}: the good ones are told apart"
                assert million == diverged < second - 20, f"{where}: the others are at the edge"
            note = browser.evaluate("document.getElementById('course-note').textContent")
            assert "trial 3 diverged" in note and "trial 2, up to 1e+6" in note
            text = browser.evaluate("document.body.innerText")
            assert "At the edge, not to scale: 1 diverged trial and trials with val/loss above 0.12." in text
            names = browser.evaluate("document.getElementById('parallel').textContent")
            assert "diverged, above 0.12" in names
            browser.press("#choices button:nth-child(2)")
            assert "up to 1e+30" in browser.evaluate("document.getElementById('course-note').textContent")
            assert browser.complaints == []
        finally:
            browser.close()

"""report.html in a real browser: what a person can do there, and that no request leaves."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.studies import BASE, a_preview, a_study, a_trial
from tools.screenshots import Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: apt-get install chromium"),
]


class Watched(Browser):
    """A browser that remembers every address that a page asked for."""

    def __init__(self, profile: Path, width: int) -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []
        super().__init__(profile, width)
        self.call("Network.enable")
        self.call("Runtime.enable")

    def _next(self) -> dict[str, Any]:
        message = super()._next()
        if message.get("method") == "Network.requestWillBeSent":
            self.asked.append(message["params"]["request"]["url"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(message["params"]))
        return message

    def rows(self) -> list[str]:
        """The trials of the leaderboard, from the top."""
        script = "JSON.stringify([...document.querySelectorAll('#board tbody tr')].map(r => r.dataset.trial || 'base'))"
        found: list[str] = json.loads(self.evaluate(script))
        return found

    def press(self, selector: str) -> None:
        """Click the middle of an element, with the mouse."""
        middle = (
            "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return JSON.stringify([b.left + b.width / 2, b.top + b.height / 2]) })"
        )
        x, y = json.loads(self.evaluate(f"{middle}(document.querySelector({selector!r}))"))
        self.click(x, y)


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
def browser(page: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Watched(Path(profile), request.param)
        try:
            opened.open(page.as_uri(), "document.querySelectorAll('#courses path.trial').length > 0")
            yield opened
        finally:
            opened.close()


def test_a_person_sorts_marks_and_narrows_down_and_no_request_leaves(browser: Watched, page: Path) -> None:
    assert browser.rows() == ["1", "4", "3", "2", "0", "5", "base"]
    browser.press("#board th:nth-child(2) button")
    assert browser.rows() == ["0", "1", "2", "3", "4", "5", "base"]
    browser.press("#board th:nth-child(2) button")
    assert browser.rows() == ["5", "4", "3", "2", "1", "0", "base"]

    browser.press("#board tr[data-trial='3'] td")
    assert browser.evaluate("document.querySelectorAll('#parallel path.marked, #courses path.marked').length") == 2
    assert "trial 3" in browser.evaluate("document.getElementById('reading').textContent")

    browser.evaluate("document.getElementById('parallel').scrollIntoView({block: 'center'})")
    time.sleep(0.3)
    box = "(b => JSON.stringify([b.left + b.width / 2, b.top, b.bottom]))"
    areas = "document.querySelectorAll('#parallel rect[fill=transparent]')"
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
    assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert {address.partition(":")[0] for address in browser.asked} <= {"file", "data", "about"}
    assert [address for address in browser.asked if address.startswith("file:")] == [page.as_uri()]
    assert browser.complaints == []

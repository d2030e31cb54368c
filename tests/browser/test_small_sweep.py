"""A small sweep in a real browser: from the printed address to pictures and best file, and `prefer` by keyboard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeplora.report.leaderboard import read_leaderboard
from sweeplora.report.words import brief_values
from sweeplora.rundir.preferences import read_judgements
from tests.browser.conftest import STUDY
from tests.browser.watched import Watched
from tools.screenshots import free_port

pytestmark = pytest.mark.browser

_DRAWN = "[...document.querySelectorAll('#pair img')].every(i => i.complete && i.naturalWidth > 200)"
_NAMED = "[...document.querySelectorAll('.ag-row a')].find(a => a.textContent.trim().startsWith({}))"


@pytest.fixture
def ui(swept: Path) -> Iterator[str]:
    """The address that `ui` prints once its page answers."""
    words = ["ui", "--no-browser", "--port", str(free_port()), f"runs={swept}"]
    process = subprocess.Popen([sys.executable, "-m", "sweeplora", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.communicate(timeout=30)


def test_numbers_a_contact_sheet_and_the_best_file_are_at_most_three_clicks_away(
    ui: str, swept: Path, browser: Watched
) -> None:
    board = read_leaderboard(swept / STUDY, STUDY, ("val/loss",))
    values = [entry.values[0] for entry in board.entries]
    best = board.entries[0]

    browser.go(ui, "document.querySelectorAll('.ag-center-cols-container .ag-row').length >= 4")
    column = "[col-id='metrics.`val/loss`'], [col-id='$$$metric$$$-val/loss']"
    cells = (
        f"JSON.stringify([...document.querySelectorAll(`.ag-center-cols-container .ag-row`)]"
        f".sort((a, b) => a.getAttribute('row-index') - b.getAttribute('row-index'))"
        f".map(row => row.querySelector({json.dumps(column)})?.innerText))"
    )
    browser.until(f"JSON.parse({cells}).filter(Boolean).length >= 3")
    shown = [float(text) for text in json.loads(browser.evaluate(cells)) if text and text.strip() not in ("", "-")]
    assert shown[:3] == pytest.approx(sorted(values), rel=1e-2), "the list is sorted, the best first, with numbers"
    assert "Ask a question" not in browser.evaluate("document.documentElement.outerHTML"), "no panel of an assistant"

    browser.press_one(_NAMED.format(json.dumps(STUDY)))  # one click: the sweep's own run, and its note
    browser.until("[...document.images].some(i => i.src.includes('get-artifact') && i.naturalWidth > 300)")
    sheets = "[...document.images].filter(i => i.src.includes('sheets%2Fprompt-')).length"
    assert browser.evaluate(sheets) == 2
    widest = "[...document.images].filter(i => i.src.includes('get-artifact')).map(i => getComputedStyle(i).maxWidth)"
    assert set(json.loads(browser.evaluate(f"JSON.stringify({widest})"))) == {"100%"}, "none pushes others out of sight"
    assert not any(word in browser.evaluate("document.body.innerText") for word in ("Evaluation runs", "AI Gateway"))

    browser.go("about:blank", "document.readyState === 'complete'")
    browser.go(ui, "document.querySelectorAll('.ag-center-cols-container .ag-row').length >= 4")
    name = brief_values(best.params)
    browser.until(_NAMED.format(json.dumps(name)))
    browser.press_one(_NAMED.format(json.dumps(name)))  # the first click
    tab = "[...document.querySelectorAll('a, [role=tab], button')].find(e => e.textContent.trim() === 'Artifacts')"
    browser.until(tab)
    browser.press_one(tab)  # the second
    text = "//text()[normalize-space() = 'weights']/.."
    folder = f"document.evaluate({json.dumps(text)}, document, null, 9, null).singleNodeValue"
    browser.until(folder)
    browser.press_one(folder)  # the third: the file is there
    assert best.weights is not None
    browser.until(f"document.body.innerText.includes({json.dumps(best.weights.name)})")
    assert browser.elsewhere == []


def test_the_page_of_models_cuts_no_name(ui: str, swept: Path, browser: Watched) -> None:
    base, _, rest = ui.partition("/#/experiments/")
    page = f"{base}/#/experiments/{rest.partition('/')[0]}/models?workflowType=machine_learning"
    links = "[...document.querySelectorAll('.ag-pinned-left-cols-container .ag-row a')]"
    browser.go(page, f"{links}.length >= 3")
    shown = json.loads(
        browser.evaluate(
            f"JSON.stringify({links}.map(a => [a.textContent.trim(), a.getBoundingClientRect().right <= "
            "a.closest('.ag-cell').getBoundingClientRect().right]))"
        )
    )
    for entry in read_leaderboard(swept / STUDY, STUDY, ("val/loss",)).entries:
        assert [f"{brief_values(entry.params, points=False)} ({entry.number})", True] in shown
    assert all(whole for _, whole in shown)


@pytest.fixture
def prefer(swept: Path) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "sweeplora", "prefer", STUDY, "--no-browser", f"runs={swept}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def said(browser: Watched) -> str:
    text: str = browser.evaluate("document.body.innerText")
    return text


def answered(browser: Watched, count: int) -> None:
    """Wait for the page to have taken an answer in."""
    browser.until(f"document.getElementById('progress').textContent.startsWith('{count} comparison') && {_DRAWN}")
    browser.until("!document.body.classList.contains('waiting')")


def test_a_person_compares_undoes_and_ends_with_the_keyboard_alone(
    swept: Path, prefer: subprocess.Popen[str], browser: Watched
) -> None:
    assert prefer.stdout is not None
    address = prefer.stdout.readline().strip()
    browser.go(address, f"document.getElementById('progress').textContent.includes('comparison') && {_DRAWN}")
    for word in ("left", "right", "space", "backspace", "undo", "q"):
        assert word in said(browser)  # the keys are on the page
    assert "dim" not in said(browser) and not re.search(r"trial \d", said(browser))
    study = swept / STUDY
    for count, (key, picked) in enumerate(
        [("ArrowLeft", "left"), ("ArrowRight", "right"), ("ArrowDown", "tie"), (" ", "tie")], 1
    ):
        browser.key(key)
        answered(browser, count)
        assert [one.picked for one in read_judgements(study)][-1] == picked
    assert "You called trial " in said(browser) and "(dim " in said(browser)
    browser.key("Backspace")
    answered(browser, 3)
    assert [one.picked for one in read_judgements(study)] == ["left", "right", "tie"]

    browser.evaluate("document.querySelector('#bar [data-pick=right]').focus()")
    browser.key(" ")  # on a focused button it is still the key for equal, and only that
    answered(browser, 4)
    assert [one.picked for one in read_judgements(study)][-1] == "tie"

    assert not browser.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    browser.key("q")
    browser.until("!document.getElementById('ended').hidden")
    assert "you prefer trial " in said(browser)
    out, complaint = prefer.communicate(timeout=60)
    assert (prefer.returncode, complaint) == (0, "") and "after 4 comparisons" in out
    assert browser.elsewhere == [] and browser.complaints == []
    assert {one for one in browser.asked if not one.startswith("data:")} <= {
        address,
        *(address + what for what in ("pair", "pick", "undo", "end")),
    }
    assert "What you prefer" in (study / "report.html").read_text()


def test_another_page_can_neither_read_nor_post(prefer: subprocess.Popen[str], browser: Watched, swept: Path) -> None:
    assert prefer.stdout is not None
    address = prefer.stdout.readline().strip()
    before = len(read_judgements(swept / STUDY))
    browser.go("data:text/html,<p id=p>elsewhere</p>", "document.getElementById('p') !== null")
    script = (
        f"fetch({json.dumps(address + 'pick')}, {{method: 'POST', mode: %s, headers: {{'Content-Type': %s}},"
        " body: JSON.stringify({pair: 0, picked: 'left'})})"
        ".then(a => { window.got = a.type }, e => { window.got = 'refused' })"
    )
    for mode, kind in (("'cors'", "'application/json'"), ("'no-cors'", "'text/plain'")):
        browser.evaluate(f"window.got = null; {script % (mode, kind)}; 1")
        browser.until("window.got")
        assert browser.evaluate("window.got") == "refused"
    assert len(read_judgements(swept / STUDY)) == before

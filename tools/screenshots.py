"""Take screenshots of a study: its report, and MLflow's pages of it in Model-training mode.

    python tools/screenshots.py RUNS OUT [--study NAME]

Starts the UI on a free port, drives a headless Chromium over its debugging pipe, and stops both. A picture is taken
once the page shows what it is about and has stopped changing, however long that takes. Pictures have two pixels for
each of the page's. The server gets a copy of the database, with a view of its own for the columns Dataset and Models.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.record.server import Server
from sweeplora.record.store.shared_view import TAG, address_of, key_of
from sweeplora.record.store.standing import ORDER
from sweeplora.rundir.databases import sqlite_uri
from sweeplora.rundir.folder import REPORT

_PAGE_SECONDS = 900.0
"""Until a page that does not come is given up: no measure of speed, on a machine that does much else."""

_STILL = 3
"""Equal pictures in a row, half a second apart, of a page that has stopped changing."""

_COLUMNS = ("attributes.`Dataset`", "attributes.`Models`")
_OF_DATASETS = "sweeplora-screenshots"
_MODE = "workflowType=machine_learning"

_CLOSE_ASSISTANT = """
    [...document.querySelectorAll('button')].filter(b => /close/i.test(b.ariaLabel || '')).forEach(b => b.click())
"""
_CHARTS = "document.querySelectorAll('.js-plotly-plot').length > 0"
_SCROLLING = "e => e.scrollHeight > e.clientHeight + 5 && /auto|scroll/.test(getComputedStyle(e).overflowY)"
_SCROLL_DOWN = f"[...document.querySelectorAll('div')].filter({_SCROLLING}).forEach(e => {{ e.scrollTop = 1e6 }})"
_SHOW_PICTURES = "[...document.images].reverse().forEach(e => e.scrollIntoView({block: 'center'}))"
_TO_VALIDATION = """
    (() => {
        const isSection = e => /^val\\s*\\(\\d+\\)$/.test(e.textContent.trim())
        const found = [...document.querySelectorAll('*')].filter(isSection).pop()
        found?.scrollIntoView({block: 'start'})
        return Boolean(found) && found.getBoundingClientRect().top < 400
    })()
"""
# A headless browser shows the toolbars that a person sees under the pointer only.
_NO_TOOLBARS = """
    document.head.insertAdjacentHTML('beforeend', '<style>.modebar { display: none !important }</style>')
"""
_SLIDERS = "document.querySelectorAll('[role=slider]')"
_MODELS_FOUND = "document.querySelectorAll('.ag-center-cols-container .ag-row, .ag-pinned-left-cols-container .ag-row')"
# MLflow's page of logged models sorts by time alone; their metrics are to the right, and drawn once they are near.
_MODELS_TO_METRICS = """
    (() => {
        const found = [...document.querySelectorAll('.ag-header-container *')]
            .find(e => e.children.length === 0 && e.textContent.trim() === 'val/loss')
        const bar = document.querySelector('.ag-body-horizontal-scroll-viewport')
        bar.scrollLeft += found ? found.getBoundingClientRect().left - bar.getBoundingClientRect().left - 16 : 120
        return Boolean(found)
    })()
"""
_LAST_MARK = """
    e => {
        e.scrollIntoView({block: 'center'})
        let track = e
        while (track.getBoundingClientRect().width < 100) track = track.parentElement
        const box = track.getBoundingClientRect()
        return JSON.stringify([box.right - 6, e.getBoundingClientRect().top + e.getBoundingClientRect().height / 2])
    }
"""


class Browser:
    """A headless Chromium, controlled by its DevTools protocol: JSON messages terminated by a zero byte."""

    def __init__(self, profile: Path, width: int = 1500, height: int = 950, scale: int = 1) -> None:
        to_browser, self._write = _high_pipe()
        self._read, from_browser = _high_pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        flags += [f"--user-data-dir={profile}", f"--window-size={width},{height}", "--remote-debugging-pipe"]
        # Chromium reads its pipe on descriptor 3 and answers on 4; bash, as sh may know no descriptor above 9.
        shell = f'exec 3<&{to_browser} 4>&{from_browser}; exec chromium "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *flags, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def send(self, method: str, session: str | None, **params: Any) -> int:
        """Send one command to a page or worker, and return its number."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._count

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        count = self.send(method, self._session, **params)
        while True:
            answer = self._next()
            if answer.get("id") == count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("chromium has ended")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def open(self, address: str, until: str) -> None:
        """Open a page, wait until a JavaScript expression holds, then until the page has stopped changing."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait(until)

    def wait(self, until: str) -> None:
        """Wait until a JavaScript expression holds; raises TimeoutError naming it."""
        deadline = time.monotonic() + _PAGE_SECONDS
        while not self.evaluate(until):
            if time.monotonic() > deadline:
                raise TimeoutError(until)
            time.sleep(0.3)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has stopped changing: nothing loads, moves or spins. Raises TimeoutError."""
        deadline = time.monotonic() + _PAGE_SECONDS
        seen: list[str] = []
        while len(seen) < _STILL or len(set(seen[-_STILL:])) > 1:
            if time.monotonic() > deadline:
                raise TimeoutError("the page does not stop changing")
            time.sleep(0.5)
            seen.append(self.call("Page.captureScreenshot", format="png")["data"])

    def click(self, x: float, y: float) -> None:
        """Press and release the left button at a point in the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def shoot(self, file: Path) -> None:
        """Write a PNG of the visible page."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Close the browser."""
        self._process.terminate()
        self._process.wait(timeout=20)


def _high_pipe() -> tuple[int, int]:
    """A pipe (read, write) whose descriptors are none of those that Chromium is given."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def free_port() -> int:
    """A free port on the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Found(NamedTuple):
    """What to take pictures of: MLflow's experiment with its tags, the study, and the run of its best trial."""

    experiment: dict[str, Any]
    study: str
    run: str


def find(runs: Path, study: str | None) -> Found:
    """The first trial of the leaderboard among those with samples, in one study or in the newest."""
    database = sqlite3.connect(runs / "mlflow.db")
    query = (
        "select r.experiment_id, t.value, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid"
        f" join tags o on o.run_uuid = r.run_uuid and o.key = '{ORDER}'"
        " where t.key = 'sweeplora.root' and (? is null or t.value = ?) and r.lifecycle_stage = 'active'"
        " and exists (select 1 from tags i where i.run_uuid = r.run_uuid and i.key = 'mlflow.loggedImages')"
        " and exists (select 1 from tags k where k.run_uuid = r.run_uuid and k.key = 'sweeplora.kind'"
        " and k.value = 'trial')"
        " order by o.value"
    )
    rows = database.execute(query, (study, study)).fetchall()
    assert rows, "no run with samples in this store"
    newest = study or max({row[1] for row in rows}, key=lambda name: (runs / name).stat().st_mtime)
    experiment, name, run = next(row for row in rows if row[1] == newest)
    tags = database.execute("select key, value from experiment_tags where experiment_id = ?", (experiment,)).fetchall()
    database.close()
    pairs = [{"key": key, "value": value} for key, value in tags]
    return Found({"experiment_id": str(experiment), "tags": pairs}, str(name), str(run))


def with_datasets(database: Path, found: Found) -> None:
    """Add a view of the study's runs that has their data sets and logged models as columns."""
    with closing(sqlite3.connect(database)) as connection:
        tags = {tag["key"]: tag["value"] for tag in found.experiment["tags"]}
        view = json.loads(tags[f"{TAG}{key_of(found.study)}"])
        objective = next(column for column in view["selectedColumns"] if column.startswith("metrics."))
        view["selectedColumns"] = [*_COLUMNS, objective]
        row = (found.experiment["experiment_id"], f"{TAG}{_OF_DATASETS}", json.dumps(view))
        connection.execute("insert into experiment_tags(experiment_id, key, value) values (?, ?, ?)", row)
        connection.commit()


def photograph_report(browser: Browser, report: Path, out: Path) -> None:
    """Take the report's head, and its first contact sheet."""
    browser.open(report.as_uri(), "document.querySelectorAll('#courses path.trial').length > 0")
    browser.shoot(out / "report.png")
    browser.evaluate("[...document.images].find(e => e.width > 300).scrollIntoView({block: 'start'})")
    browser.settle()
    browser.shoot(out / "report-sheet.png")


def photograph(browser: Browser, base: str, found: Found, out: Path) -> None:
    """Take one PNG per view of MLflow's pages."""
    has = "document.body.innerText.includes({!r})".format
    first = address_of(base, found.experiment, [found.study])
    browser.open(first, "document.querySelectorAll('.ag-row').length > 3")
    browser.evaluate(_CLOSE_ASSISTANT)
    browser.settle()
    browser.shoot(out / "runs.png")
    pages = f"{base}/#/experiments/{found.experiment['experiment_id']}"
    browser.open(f"{pages}/runs?{_MODE}&viewStateShareKey={_OF_DATASETS}", has("Dataset"))
    browser.wait("document.querySelectorAll('.ag-row').length > 3")
    browser.shoot(out / "datasets.png")
    browser.open(f"{pages}/models?{_MODE}", f"{_MODELS_FOUND}.length > 3")
    browser.wait(_MODELS_TO_METRICS)
    browser.shoot(out / "models.png")
    run = f"{pages}/runs/{found.run}"
    browser.open(f"{run}?{_MODE}", has("Parameters"))
    browser.shoot(out / "trial.png")
    browser.open(f"{run}/model-metrics?{_MODE}", _CHARTS)
    browser.evaluate(_NO_TOOLBARS)
    browser.wait(_TO_VALIDATION)
    browser.shoot(out / "metrics.png")
    # Cards are drawn when they scroll into view, and a run's parameters are above its images.
    browser.evaluate(_SCROLL_DOWN)
    browser.settle()
    for index in range(browser.evaluate(f"{_SLIDERS}.length")):
        browser.click(*json.loads(browser.evaluate(f"({_LAST_MARK})({_SLIDERS}[{index}])")))
    browser.settle()
    browser.evaluate(_SHOW_PICTURES)
    browser.settle()
    browser.shoot(out / "images.png")
    browser.open(f"{run}/artifacts?{_MODE}", has("weights"))
    browser.shoot(out / "artifacts.png")
    # Last, since all runs at once take a busy machine long.
    browser.open(f"{first}&compareRunsMode=CHART", _CHARTS)
    browser.evaluate(_NO_TOOLBARS)
    browser.settle()
    browser.shoot(out / "charts.png")


def main() -> None:
    """Serve the UI, take the screenshots, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    given.runs = given.runs.resolve()
    found = find(given.runs, given.study)
    port = free_port()
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    database = Path(shutil.copy(given.runs / "mlflow.db", scratch.name))
    with_datasets(database, found)
    server = Server(sqlite_uri(database), port, [])
    try:
        server.start()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(Path(profile), width=1400, height=900, scale=2)
            try:
                photograph_report(browser, given.runs / found.study / REPORT, given.out)
                photograph(browser, server.address, found, given.out)
            finally:
                browser.close()
    finally:
        server.stop()
        scratch.cleanup()


if __name__ == "__main__":
    main()

"""The pages over a record: printed when they answer, at the address that was asked for, gone with their command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.record.server import answers
from tests.record.servers import closed_port

LONG = 600.0


@pytest.fixture
def other_program() -> Iterator[int]:
    """A port at which another program's page answers."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def begin(runs: Path, *words: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    argv = [sys.executable, "-m", "sweeplora", "ui", f"runs='{runs}'", *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    """Processes that a process has started, by /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def test_the_address_is_printed_when_the_page_answers_and_interrupting_ends_all(runs: Path) -> None:
    port = closed_port()
    process = begin(runs, "--port", str(port))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        assert answers(f"http://127.0.0.1:{port}")
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=LONG)
    finally:
        process.kill()
    assert (process.returncode, said, complaint) == (0, "", "")
    assert not answers(f"http://127.0.0.1:{port}")


def test_a_killed_command_leaves_no_server(runs: Path) -> None:
    process = begin(runs, "--port", str(closed_port()))
    deadline = time.monotonic() + LONG
    while not (servers := children(process.pid)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    while any(Path(f"/proc/{pid}").exists() for pid in servers):
        assert time.monotonic() < deadline, "a server outlived its command"
        time.sleep(0.05)


def test_a_taken_port_is_refused_in_one_line(
    runs: Path, other_program: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", f"runs='{runs}'", f"--port={other_program}"]) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        f"--port={other_program}: another program listens there; give another, e.g. --port 5001"
    ]
    assert shown.out == ""


def test_a_servers_own_pages_are_shown_without_the_password(
    other_program: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", f"tracking.uri=http://127.0.0.1:{other_program}"]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:{other_program}\n"
    assert main(["ui", f"tracking.uri=http://127.0.0.1:{other_program}", "--port=5001"]) == 2
    assert "has no effect" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", f"tracking.uri=http://me:hunter2@127.0.0.1:{closed_port()}"]) == 2
    shown = capsys.readouterr()
    assert "does not answer" in shown.err
    assert "hunter2" not in shown.err + shown.out


def test_a_database_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ui", "tracking.uri=sqlite:///elsewhere/mine.db"]) == 2
    assert "tracking.uri=sqlite:///elsewhere/mine.db: there is no record yet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_printed_address_opens_the_last_studys_view(tmp_path: Path) -> None:
    from sweeplora.record.ui import first_page
    from tests.record.study_folder import tracking_of

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/api/2.0/mlflow/experiments/get-by-name") else 404)
            self.end_headers()
            tags = '[{"key": "mlflow.sharedViewState.one"}, {"key": "mlflow.sharedViewState.two"}]'
            self.wfile.write(f'{{"experiment": {{"experiment_id": "3", "tags": {tags}}}}}'.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for name, when in (("one", 50), ("two", 90), ("three", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_text("{}")
        os.utime(tmp_path / name / "study.json", (when, when))
    with HTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        found = first_page(base, tracking_of(tmp_path), tmp_path)
        server.shutdown()
    assert found == f"{base}/#/experiments/3/runs?workflowType=machine_learning&viewStateShareKey=two"
    assert first_page(f"http://127.0.0.1:{closed_port()}", tracking_of(tmp_path), tmp_path).startswith("http://127")

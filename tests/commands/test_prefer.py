"""`prefer` from the command line: what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.rundir.lock import hold
from tests.report.studies import a_preview, a_study, a_trial


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = a_study(tmp_path / "runs")
    for number in range(3):
        a_preview(a_trial(folder, number, {"network.dim": 2**number}, 0.1 * (1 + number)), 20, (80 * number, 9, 9))
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ranks", "--port", "0"], "--port=0: give a port number"),
        (["ranks", "--port", "x"], "--port=x: give a port number"),
        (["ranks/0"], "STUDY=ranks/0: that is one run, and there is nothing to compare it with; name a study"),
        (["rank"], "RUN=rank: no such run"),
        ([], "command line=prefer: give one study or run"),
        (["ranks", "--ports", "3"], "no such option"),
    ],
)
def test_bad_words_are_refused_in_one_line(
    runs: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prefer", *words, f"runs={runs}"]) == 2
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1


def test_only_one_person_compares_a_study_at_a_time(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(runs / "ranks" / "prefer.lock"):
        assert main(["prefer", "ranks", f"runs={runs}"]) == 2
    assert "another `prefer` compares its trials" in capsys.readouterr().err


def test_the_result_is_printed_and_in_leaderboard_and_report(runs: Path) -> None:
    command = [sys.executable, "-m", "sweeplora", "prefer", "ranks", "--no-browser", f"runs={runs}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
        origin = address.rsplit("/", 2)[0]

        def post(what: str, body: dict[str, object]) -> dict[str, object]:
            headers = {"Content-Type": "application/json", "Origin": origin}
            request = urllib.request.Request(address + what, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=300) as answer:
                told: dict[str, object] = json.load(answer)
                return told

        for pair in range(3):
            post("pick", {"pair": pair, "picked": "left"})
        post("end", {})
        said, complaint = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, complaint) == (0, "")
    study = runs / "ranks"
    assert len((study / "preferences.jsonl").read_text().splitlines()) == 3
    prefers = re.search(r"you prefer trial (\d)", said)
    assert prefers is not None and "after 3 comparisons" in said and "preferred" in said
    assert prefers[0] in (study / "leaderboard.md").read_text()
    assert "preferred" in (study / "leaderboard.csv").read_text().splitlines()[0]
    page = (study / "report.html").read_text()
    assert prefers[0] in page and '<table id="preferences">' in page

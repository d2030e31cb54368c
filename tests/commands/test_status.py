"""status: what runs at this moment, told from folders and locks alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import Attempt, StudyRecord, TrialRecord, write_study, write_trial

NOW = time.time()


def trial(study: Path, number: int, verdict: str, value: float | None = None) -> RunDir:
    params = {"network.dim": 2 << number, "network.alpha": 4}
    began = NOW - 100
    attempt = Attempt(began, slot=number, pid=4000 + number, ended=None if verdict == "running" else began + 30)
    run = RunDir.create(study / f"{number:03}-{number:012x}", "seed: 0\n")
    record = TrialRecord("running", study.name, number, params=params, value=value, steps=40, attempts=[attempt])
    record.verdict = verdict  # type: ignore[assignment]
    record.message = "out of memory at step 3" if verdict == "failed" else ""
    write_trial(run, record)
    return run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of which one trial is complete, one failed and one cut off, and a single run."""
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "runs/ranks"
    study.mkdir(parents=True)
    write_study(study, StudyRecord("ranks", "val/loss", NOW - 200, "running", trials=6))
    trial(study, 0, "complete", 0.25)
    trial(study, 1, "failed")
    writer = MetricsWriter(trial(study, 2, "running").metrics)
    for step in range(11):
        writer.write(step, {"loss": 0.5} if step else {"val/loss": 0.4})
    writer.write(10, {"val/loss": 0.3, "val/relative": 0.75})
    run = RunDir.create(tmp_path / "runs/single/cats", "seed: 0\n")
    write_trial(run, TrialRecord("running", steps=8, attempts=[Attempt(NOW - 10)]))
    return tmp_path / "runs"


@pytest.fixture
def alive(runs: Path) -> Iterator[Path]:
    """The same while its driver lives: the locks are held."""
    study = runs / "ranks"
    locks = [hold(study / "driver.lock"), hold(RunDir(study / f"002-{2:012x}").lock)]
    yield runs
    for lock in locks:
        lock.close()


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["status", *words]) == 0
    return capsys.readouterr().out


def test_a_running_study_says_where_how_far_since_when_and_the_best(
    alive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(capsys)
    lines = said.splitlines()
    since = re.fullmatch(r"ranks  running since 20[-0-9: ]+ \((\d+):(\d\d)\)", lines[0])
    assert since is not None, lines[0]
    assert 200 <= 60 * int(since[1]) + int(since[2]) <= time.time() - NOW + 201
    assert "trials  1 complete, 1 failed, 1 running of 6" in lines
    assert "best    0.25, trial 0: dim 2 · alpha 4" in lines
    assert "failed  trial 1: out of memory at step 3" in lines
    head, row = lines[-2:]
    assert head.split()[:4] == ["trial", "dim", "·", "alpha"]
    assert row.startswith("2      8 · 4") and "10/40" in row and "75.0 %" in row and row.split()[-2:] == ["2", "4002"]
    assert "cats" not in said  # nothing supervises it
    assert max(map(len, lines[-2:])) <= 100


def test_the_time_left_follows_from_the_latest_attempts_speed(alive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir(alive / "ranks" / f"002-{2:012x}")
    slow = [{"step": step, "time": NOW - 400 + step, "values": {"loss": 1.0}} for step in range(5)]  # before it
    quick = [{"step": step, "time": NOW - 90 + 2 * step, "values": {"loss": 1.0}} for step in range(5, 21)]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in (*slow, *quick)) + '{"step": 21, "ti')
    facts = json.loads(told(capsys, "--json"))["studies"][0]
    assert facts["running"][0]["left"] == pytest.approx((40 - 20) * 2)
    assert facts["running"][0]["step"] == 20  # a torn line is no step
    assert facts["left"] == pytest.approx(20 * 2 + 3 * 30)  # three trials to come at the 30 s of the complete one
    assert facts["best"]["trial"] == 0 and facts["trials"] == {"complete": 1, "failed": 1, "running": 1}


def test_repetitions_with_other_seeds_run_and_are_no_trials(alive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir.create(alive / "ranks/000.1-aaaaaaaaaaaa", "seed: 1\n")
    again = TrialRecord("running", "ranks", 0, value=0.1, steps=40, attempts=[Attempt(NOW - 5)], replicate=1)
    again.params = {"network.dim": 2, "network.alpha": 4}
    write_trial(run, again)
    with hold(run.lock):
        said = told(capsys)
    assert "trials  1 complete, 1 failed, 1 running of 6" in said
    assert "best    0.25, trial 0" in said and "\n0.1    2 · 4" in said


def test_what_has_no_living_driver_does_not_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys)
    assert said.splitlines()[0] == "nothing runs"
    assert "ranks  interrupted" in said and "1 interrupted" in said and "4002" not in said


def test_watch_ends_when_nothing_runs_any_more(alive: Path, runs: Path) -> None:
    command = [sys.executable, "-m", "sweeplora", "status", "--watch", "--json", "ranks"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["studies"][0]["state"] == "running"
    write_study(runs / "ranks", StudyRecord("ranks", "val/loss", NOW - 200, "finished", trials=6))
    last = watching.communicate(timeout=600)[0].splitlines()[-1]
    assert watching.returncode == 0 and json.loads(last)["studies"][0]["state"] == "finished"


class ATerminal(StringIO):
    """Text that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def in_terminal(monkeypatch: pytest.MonkeyPatch, width: int, *words: str) -> str:
    """What a command prints in a terminal of that many columns."""
    terminal = ATerminal()
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", terminal)
        patched.setenv("COLUMNS", str(width))
        assert main(list(words)) == 0
    return terminal.getvalue()


def test_watch_moves_a_cursor_where_there_is_one_and_keeps_what_was_above(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    said = in_terminal(monkeypatch, 80, "status", "--watch", "ranks")
    assert "\033[H" in said and "ranks  interrupted\033[K" in said
    assert "\033[2J" not in said and "\033[3J" not in said  # these take what a person has on the screen, or above it
    monkeypatch.setenv("TERM", "dumb")
    assert "\033" not in in_terminal(monkeypatch, 80, "status", "--watch", "ranks")


@pytest.mark.parametrize("words", [("status",), ("list", "ranks"), ("show", "ranks"), ("show", "ranks/2")])
def test_tables_and_drawings_fit_a_narrow_terminal(
    alive: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    wide, narrow = (in_terminal(monkeypatch, width, *words).splitlines() for width in (200, 40))
    tables = ("trial ", "rank ", "study ", "single run ", "0  ", "1  ", "2  ", "base ", " ")
    assert max(len(line) for line in narrow if line.startswith(tables)) <= 40
    assert max(map(len, wide)) > 40


def test_a_named_run_and_an_empty_folder(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cats  interrupted" in told(capsys, "cats")
    (tmp_path / "none").mkdir()
    assert "there are no studies" in told(capsys, "runs=none")
    assert main(["status", "rnks"]) == 2
    assert "nearest: ranks" in capsys.readouterr().err

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeplora.launch.local import Local
from sweeplora.launch.process import start_ticks
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold, is_held
from sweeplora.rundir.metrics import Point
from sweeplora.rundir.record import Attempt, Result, TrialOutcome, TrialRecord, read_trial
from sweeplora.sweep.outcomes import classify, fruitless
from sweeplora.sweep.supervise import Place, Progress, Supervision, end_leftover
from tests.sweep.commands import PATIENCE_SECONDS, environment, until


@pytest.mark.parametrize(
    ("result", "code", "stopped", "expected"),
    [
        ({"status": "finished"}, 0, None, ("complete", True)),
        ({"status": "finished"}, 0, "pruned", ("complete", True)),
        ({"status": "diverged", "message": "nan"}, 3, None, ("diverged", True)),
        ({"status": "interrupted"}, 4, "pruned", ("pruned", True)),
        ({"status": "interrupted"}, 4, "interrupted", ("interrupted", True)),
        ({"status": "interrupted"}, 4, None, ("interrupted", False)),
        ({"status": "interrupted"}, -15, None, ("interrupted", False)),
        ({"status": "failed", "message": "the other process is gone"}, -9, None, ("interrupted", False)),
        (None, -9, None, ("interrupted", False)),
        (None, -1, None, ("interrupted", False)),
        (None, 256, None, ("interrupted", False)),
        (None, -6, None, ("failed", False)),
        ({"status": "failed", "message": "boom"}, 1, None, ("failed", False)),
        ({"status": "failed", "message": "CUDA out of memory"}, 1, None, ("failed", True)),
        ({"status": "refused", "message": "network.dim=9: no"}, 2, None, ("failed", True)),
        (None, -11, None, ("failed", False)),
        (None, -15, "pruned", ("pruned", True)),
        (None, -9, "interrupted", ("interrupted", True)),
        (None, 0, None, ("failed", False)),
    ],
)
def test_an_ending_is_told_from_result_exit_code_and_our_own_signal(
    result: Any, code: int, stopped: Any, expected: tuple[str, bool]
) -> None:
    ending = classify(None if result is None else Result(**result), code, stopped)
    assert (ending.verdict, ending.final) == expected


def test_a_death_without_a_result_names_the_signal() -> None:
    assert "SIGSEGV" in classify(None, -11, None).message
    assert "exit code 7" in classify(None, 7, None).message


def test_progress_measures_the_pace_and_starts_anew_when_the_steps_do() -> None:
    progress = Progress()
    for step, when in ((0, 100.0), (2, 104.0), (4, 108.0)):
        progress.take(Point(step, "loss", 1.0, when))
    assert progress.seconds_a_step == 2.0
    progress.take(Point(1, "loss", 1.0, 200.0))
    progress.take(Point(2, "loss", 0.5, 205.0))
    assert (progress.step, progress.seconds_a_step, progress.values["loss"]) == (2, 5.0, 0.5)


@pytest.fixture(autouse=True)
def _only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the stand-in is found and how it behaves is what it was before once the test is over."""
    for key, value in environment().items():
        monkeypatch.setenv(key, value)


def supervised(folder: Path, behaviour: dict[str, Any], attempts: int = 1) -> Supervision:
    config = {"network": {"dim": 8, "alpha": 1}, "optimizer": {"lr": 1e-3}}
    run = RunDir.create(folder / "run", json.dumps(config))
    os.environ.update(environment(behaviour))
    launcher = Local(slots=1, processes_per_trial=1, threads=1, device="cpu", trials_per_gpu=1, attempts=attempts)
    return Supervision(run, TrialRecord("running"), Place(launcher, launcher.plan(1).slots[0], "standin"))


def ending_of(supervision: Supervision) -> TrialOutcome:
    found: list[TrialOutcome] = []

    def ended() -> bool:
        _, ending = supervision.poll()
        found.extend([ending] if ending else [])
        return bool(found)

    until(ended)
    return found[0]


def test_a_training_deaf_to_sigterm_is_killed_after_its_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeplora.launch.local._GRACE_SECONDS", 0.5)
    supervision = supervised(tmp_path, {"steps": 999, "seconds": 0.1, "stubborn": [8]})
    until(supervision.run.metrics.exists)
    supervision.stop("pruned")
    assert ending_of(supervision).verdict == "pruned"
    assert supervision.record.attempts[0].exit_code == -9
    assert not is_held(supervision.run.lock)


def test_the_folder_is_held_while_it_is_supervised(tmp_path: Path) -> None:
    supervision = supervised(tmp_path, {"steps": 2})
    assert is_held(supervision.run.lock)
    assert ending_of(supervision).verdict == "complete"
    assert not is_held(supervision.run.lock)
    assert "threads" in supervision.run.log.read_text()


def kill_from_elsewhere(supervision: Supervision, number: signal.Signals) -> None:
    """End the attempt that runs as somebody else would, once it has logged a step of its own."""
    before = supervision.run.metrics.stat().st_size if supervision.run.metrics.exists() else 0
    attempts = len(supervision.record.attempts)
    until(lambda: supervision.run.metrics.exists() and supervision.run.metrics.stat().st_size > before)
    pid = supervision.record.attempts[-1].pid
    assert pid is not None
    os.kill(pid, number)

    def tried_again() -> bool:
        _, outcome = supervision.poll()
        return outcome is not None or len(supervision.record.attempts) > attempts

    until(tried_again)


def test_an_end_from_outside_is_no_failure_of_the_trial(tmp_path: Path) -> None:
    supervision = supervised(tmp_path, {"steps": 100, "seconds": 0.03}, attempts=1)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP):
        kill_from_elsewhere(supervision, number)
    assert ending_of(supervision).verdict == "complete"
    ended = [(one.verdict, one.outside) for one in supervision.record.attempts]
    assert ended == [("interrupted", True)] * 3 + [("complete", False)]
    assert "SIGKILL" in supervision.record.attempts[0].message


def test_a_trial_that_is_ended_again_and_again_without_getting_on_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeplora.sweep.supervise._MOST_FRUITLESS", 2)
    supervision = supervised(tmp_path, {"steps": 500, "seconds": 0.2}, attempts=1)
    outcomes: list[TrialOutcome] = []
    while not outcomes:
        pid = supervision.record.attempts[-1].pid
        assert pid is not None and len(supervision.record.attempts) <= 3
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: start_ticks(pid) is None)  # type: ignore[misc]
        _, outcome = supervision.poll()
        outcomes += [outcome] if outcome is not None else []
    assert outcomes[0].verdict == "failed"
    assert outcomes[0].message == "ended from outside by SIGKILL, 2 times in all; it never came past step 0"


def test_a_training_that_the_kernel_ends_for_want_of_memory_failed_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("oom_kill 7\n")
    monkeypatch.setattr("sweeplora.launch.process._VMSTAT", vmstat)
    supervision = supervised(tmp_path, {"steps": 500, "seconds": 0.05}, attempts=2)
    for count in (8, 9):
        vmstat.write_text(f"pgfree 3\noom_kill {count}\n")
        pid = supervision.record.attempts[-1].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: start_ticks(pid) is None)  # type: ignore[misc]
        _, outcome = supervision.poll()
    assert outcome is not None and outcome.verdict == "failed" and "out of memory" in outcome.message


def test_attempts_that_get_further_do_not_count_as_fruitless() -> None:
    def ends(*reached: int) -> list[Attempt]:
        return [Attempt(0.0, outside=True, reached=step) for step in reached]

    assert fruitless(ends(3, 5, 9)) == 0
    assert fruitless(ends(3, 5, 5, 2)) == 2
    assert fruitless(ends(0, 0, 4, 4)) == 1
    assert fruitless([Attempt(0.0, verdict="failed", reached=0)] * 3) == 0


def test_a_trial_says_with_how_many_processes_and_threads_it_runs(tmp_path: Path) -> None:
    supervision = supervised(tmp_path, {"steps": 1})
    ending_of(supervision)
    record = read_trial(supervision.run)
    assert record is not None and (record.processes, record.threads) == (1, 1)


def test_what_a_dead_driver_left_running_is_ended_before_the_folder_is_used_again(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "{}")
    code = "import time; time.sleep(60)"
    named = subprocess.Popen([sys.executable, "-c", code, "-m", "x", str(run.path)], start_new_session=True)
    forked = subprocess.Popen(["sleep", "60"], start_new_session=True)
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    until(lambda: str(run.path) in Path(f"/proc/{named.pid}/cmdline").read_text())
    attempts = [
        Attempt(0.0, ended=1.0, pid=forked.pid, start_ticks=start_ticks(forked.pid), verdict="failed"),
        Attempt(0.0, ended=2.0, pid=stranger.pid, start_ticks=1, verdict="failed"),
        Attempt(3.0),
    ]
    record = TrialRecord("running", attempts=attempts)
    end_leftover(run, record, 10.0)
    assert (named.wait(PATIENCE_SECONDS), forked.wait(PATIENCE_SECONDS)) == (-15, -15)
    assert [attempt.verdict for attempt in record.attempts] == ["failed", "failed", "interrupted"]
    assert record.attempts[2].ended == 3.0
    record.attempts.append(Attempt(4.0))
    run.metrics.touch()
    os.utime(run.metrics, (9.0, 9.0))
    end_leftover(run, record, 10.0)
    assert record.attempts[3].seconds == 5.0
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_lock_that_a_training_tries_for_an_instant_is_waited_for(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "{}")
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True)"
        "; time.sleep(0.4)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run.lock)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(BlockingIOError):
        hold(run.lock)
    supervision = supervised(tmp_path, {"steps": 1})  # had it not waited, it would have raised the same
    ending_of(supervision)
    holder.communicate()

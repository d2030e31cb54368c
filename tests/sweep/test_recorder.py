from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sweeplora.sweep.recorder import Recorder, start_recorder
from tests.sweep.commands import until


def test_a_mirror_that_fails_is_a_warning_and_no_more(tmp_path: Path) -> None:
    recorder = Recorder(["--no-such-flag"], tmp_path / "mirror.log")
    kept, warning, _ = recorder.finish(given_up=lambda: False)
    assert not kept and warning is not None and "exit code 2" in warning
    assert "error" in (tmp_path / "mirror.log").read_text()


def test_a_mirror_is_not_waited_for_against_ones_will(tmp_path: Path) -> None:
    log = tmp_path / "mirror.log"
    recorder = Recorder(["--runs", str(tmp_path), "--study", "s"], log)
    until(log.exists)
    _, warning, _ = recorder.finish(given_up=lambda: True)
    assert warning is not None and "in the background" in warning


def test_without_tracking_there_is_no_mirror(tmp_path: Path) -> None:
    log = tmp_path / "mirror.log"
    assert start_recorder({"tracking": {"enabled": False}}, [], log) is None
    assert not log.exists()


def test_a_mirror_that_was_killed_is_started_again_without_what_it_was_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeplora.sweep.recorder._SECONDS_BETWEEN_STARTS", 0.0)
    recorder = Recorder(["--runs", str(tmp_path), "--study", "s"], tmp_path / "mirror.log")
    first = recorder.pid
    recorder.revive()
    assert recorder.pid == first
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    half_written = tmp_path / f".mirror.json.{first}.1.tmp"
    half_written.touch()
    recorder.revive()
    assert recorder.pid != first and not half_written.exists()
    os.kill(recorder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, recorder.pid, os.WEXITED | os.WNOWAIT)
    assert recorder.finish(given_up=lambda: False).warning is None


def test_what_the_mirror_has_to_say_reaches_the_user(tmp_path: Path) -> None:
    log = tmp_path / "mirror.log"
    log.write_text("note: of an earlier command\n")
    recorder = Recorder(["--runs", str(tmp_path), "--study", "s"], log)
    with log.open("a") as stream:
        stream.write("12:00:00 recording waits\nnote: something\n")
    assert recorder.finish(given_up=lambda: False).notes == ("something",)


def test_a_mirror_is_given_up_only_if_it_dies_soon_after_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeplora.sweep.recorder._SECONDS_BETWEEN_STARTS", 0.0)
    recorder = Recorder(["--runs", str(tmp_path), "--study", "s"], tmp_path / "mirror.log")

    def dies_and_comes_back() -> bool:
        killed = recorder.pid
        os.kill(killed, signal.SIGKILL)
        os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
        for _ in range(2):
            recorder.revive()
        return recorder.pid != killed

    assert [dies_and_comes_back() for _ in range(4)] == [True] * 4
    monkeypatch.setattr("sweeplora.sweep.recorder._LONG_LIFE", 0.0)
    assert dies_and_comes_back()
    monkeypatch.undo()
    monkeypatch.setattr("sweeplora.sweep.recorder._SECONDS_BETWEEN_STARTS", 0.0)
    assert [dies_and_comes_back() for _ in range(5)] == [*[True] * 4, False]
    recorder.leave()

from __future__ import annotations

from pathlib import Path

from sweeplora.sweep.recorder import Recorder, start_recorder
from tests.sweep.commands import until


def test_a_mirror_that_fails_is_a_warning_and_no_more(tmp_path: Path) -> None:
    recorder = Recorder(["--no-such-flag"], tmp_path / "mirror.log")
    kept, warning = recorder.finish(given_up=lambda: False)
    assert not kept and warning is not None and "exit code 2" in warning
    assert "error" in (tmp_path / "mirror.log").read_text()


def test_a_mirror_is_not_waited_for_against_ones_will(tmp_path: Path) -> None:
    log = tmp_path / "mirror.log"
    recorder = Recorder(["--runs", str(tmp_path), "--study", "s"], log)
    until(log.exists)
    _, warning = recorder.finish(given_up=lambda: True)
    assert warning is not None and "in the background" in warning


def test_without_tracking_there_is_no_mirror(tmp_path: Path) -> None:
    log = tmp_path / "mirror.log"
    assert start_recorder({"tracking": {"enabled": False}}, [], log) is None
    assert not log.exists()

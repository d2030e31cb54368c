"""A record that cannot be kept is one clear line and an exit code; what can be recorded still is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sweeplora.record import follow
from sweeplora.record.mirror import Mirror
from sweeplora.record.sync import sync
from sweeplora.sweep.recorder import Recorder
from tests.record.mlflow_store import Contents
from tests.record.study_folder import StudyFolder, tracking_of


@pytest.fixture
def unwilling() -> Iterator[str]:
    """The address of a server that refuses whatever it is asked."""

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403, "not for you")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def finished(runs: Path, uri: str | None = None, name: str = "rank") -> StudyFolder:
    """A study that has ended, with one trial."""
    study = StudyFolder(runs, name, uri)
    trial = study.trial(0, dim=2)
    trial.steps(0, 3)
    trial.complete(0.5)
    study.write("finished")
    return study


@pytest.mark.parametrize("uri", ["mssql+nodriver://host/db", "postgresql+pg8000://host/db"])
def test_a_database_without_its_driver_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    study = finished(tmp_path / "runs", uri)
    assert follow._finish(Mirror(study.path, study.tracking), patience=600) == follow.UNKEPT
    said = capsys.readouterr().out
    assert said.startswith("the record of rank is not kept: ")
    assert said.count("\n") == 1


def test_a_servers_refusal_is_said_to_the_user(tmp_path: Path, unwilling: str) -> None:
    study = finished(tmp_path / "runs", unwilling)
    recorder = Recorder(["--runs", str(tmp_path / "runs"), "--study", "rank"], tmp_path / "mirror.log")
    kept, warning, _ = recorder.finish(given_up=lambda: False)
    assert not kept
    assert warning is not None
    assert warning.startswith("the record of rank is not kept: ")
    assert "403" in warning
    assert (study.path / "provenance").is_dir()


def test_mlflows_record_goes_on_where_event_files_cannot_be_written(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = finished(runs)
    tracking = tracking_of(runs)
    object.__setattr__(tracking, "tensorboard", str(tmp_path / "tb"))
    for module in ("compat.proto.event_pb2", "compat.proto.summary_pb2", "summary.writer.record_writer"):
        monkeypatch.setitem(sys.modules, f"tensorboard.{module}", None)  # as if uninstalled in the middle of a run
    assert follow._finish(Mirror(study.path, tracking), patience=0) == follow.UNKEPT
    assert "tensorboard" in capsys.readouterr().out
    assert set(Contents(tracking.uri).runs()) == {"rank", "rank/000-000000000002"}


NOBODY = """
import pwd, sys
pwd.getpwuid = {}.__getitem__  # a user without an entry, as in containers
from sweeplora.record.follow import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_user_without_a_name_and_a_home_has_a_record(runs: Path, tmp_path: Path) -> None:
    study = finished(runs)
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / os.fsdecode(b"caf\xe9.py")).write_text("not UTF-8 in its name\n")
    nameless = {
        key: text for key, text in os.environ.items() if key not in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME")
    }
    argv = [sys.executable, "-c", NOBODY, "--runs", str(runs), "--study", "rank"]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=desk, env=nameless, timeout=600
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(Contents(study.tracking.uri).runs()) == {"rank", "rank/000-000000000002"}
    assert len(list((runs / "workspaces").glob("*.tar.gz"))) == 1


def test_sync_goes_on_after_a_folder_that_says_no_record(runs: Path) -> None:
    broken, whole = finished(runs, name="a"), finished(runs, name="b")
    (broken.path / "config.yaml").write_text("tracking: {uri: [")
    troubles = sync(runs, {})
    assert len(troubles) == 1
    assert troubles[0].startswith(f"{broken.path}: its config.yaml")
    assert "b" in Contents(whole.tracking.uri).runs()

"""The record of a command that was ended in a hurry does not say RUNNING for ever."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.record.conftest import empty_database as empty_database  # noqa: PLC0414  # a fixture
from tests.record.mlflow_store import Contents
from tests.sweep.commands import PATIENCE_SECONDS, environment, until

WORDS = ("sweep.name=s", "search=grid", "network.dim=choice(2,4)", "tracking.workspace=false")


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGKILL,),
        pytest.param((signal.SIGINT, signal.SIGINT), marks=pytest.mark.slow),
        pytest.param((signal.SIGHUP,), marks=pytest.mark.slow),
    ],
)
def test_the_record_ends_whatever_ends_the_command(
    tmp_path: Path, empty_database: Path, signals: tuple[signal.Signals, ...]
) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs/mlflow.db")
    command = subprocess.Popen(
        [sys.executable, "-m", "drive", *WORDS],
        cwd=tmp_path,
        env=environment({"steps": 9999, "seconds": 0.1}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(list(tmp_path.glob("runs/s/*/mirror.json"))) == 2)
    for number in signals:
        command.send_signal(number)
    command.wait(timeout=PATIENCE_SECONDS)
    contents = Contents(f"sqlite:///{tmp_path}/runs/mlflow.db")

    def ended() -> bool:
        return {run.info.status for run in contents.runs().values()} == {"KILLED"}

    until(ended)
    assert all(run.info.end_time > run.info.start_time for run in contents.runs().values())

"""What may happen to a sweep on real processes, where no other test does it: see the table in docs/search.md."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.rundir.metrics import read_metrics
from tests.record.conftest import empty_database as empty_database  # noqa: PLC0414  # a fixture
from tests.record.mlflow_store import Contents
from tests.record.servers import Server
from tests.sweep.commands import PATIENCE_SECONDS, command, living_in, records, start, until, verdicts

WORDS = ("sweep.name=s", "search=grid", "network.dim=choice(2,4,8)", "launcher.slots=1")
SLOW = {"steps": 400, "seconds": 0.1}


def mirrors(folder: Path) -> list[int]:
    """Process ids of the mirrors that run in a folder."""
    return [pid for pid in living_in(folder) if b"sweeplora.record" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
def test_a_mirror_that_is_killed_is_started_again_while_the_sweep_goes_on(tmp_path: Path, empty_database: Path) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs/mlflow.db")
    driver = start(tmp_path, *WORDS, behaviour={"steps": 4000, "seconds": 0.1}, tracking="mlflow")
    until(lambda: any(tmp_path.glob("runs/s/000-*/mirror.json")))
    (first,) = mirrors(tmp_path)
    os.kill(first, signal.SIGKILL)
    until(lambda: bool(set(mirrors(tmp_path)) - {first}))
    assert driver.poll() is None and verdicts(tmp_path) == ["running"]
    driver.send_signal(signal.SIGINT)
    output, errors = driver.communicate(timeout=PATIENCE_SECONDS)
    assert (driver.returncode, errors) == (130, ""), output
    contents = Contents(f"sqlite:///{tmp_path}/runs/mlflow.db")
    found = contents.runs()
    (folder,) = (tmp_path / "runs/s").glob("000-*")
    assert set(found) == {"s", f"s/{folder.name}"}
    wanted = read_metrics(folder / "metrics.jsonl")["val/loss"]
    assert contents.history(found[f"s/{folder.name}"], "val/loss") == sorted(wanted.items())
    assert living_in(tmp_path) == []


def test_a_machine_that_dies_in_the_middle_costs_no_trial_and_adds_none(tmp_path: Path) -> None:
    driver = start(tmp_path, *WORDS, behaviour=SLOW)
    until(lambda: any(tmp_path.glob("runs/s/000-*/metrics.jsonl")))
    together = living_in(tmp_path)
    assert len(together) >= 3  # the driver, the parent that forks, and what it forked
    for number in (signal.SIGSTOP, signal.SIGKILL):  # nobody sees another one die
        for pid in together:
            os.kill(pid, number)
    driver.communicate(timeout=PATIENCE_SECONDS)
    until(lambda: living_in(tmp_path) == [])
    before = {record["number"]: record["params"] for record in records(tmp_path)}
    code, output, errors = command(tmp_path, *WORDS)
    assert (code, errors) == (0, ""), output
    after = records(tmp_path)
    assert [record["number"] for record in after] == [0, 1, 2] and verdicts(tmp_path) == ["complete"] * 3
    assert all(after[number]["params"] == params for number, params in before.items())
    assert [len(record["attempts"]) for record in after] == [2, 1, 1]


def test_a_training_out_of_memory_is_tried_again_in_pieces(tmp_path: Path) -> None:
    words = (*WORDS[:2], "network.dim=choice(2,4)", "launcher.slots=1", "launcher.on_oom=halve")
    code, output, _ = command(tmp_path, *words, behaviour={"oom": {"4": 4}})
    assert code == 0, output
    ended = {record["params"]["network.dim"]: record for record in records(tmp_path)}
    assert [ended[dim]["pieces"] for dim in (2, 4)] == [1, 4] and verdicts(tmp_path) == ["complete"] * 2
    assert [len(ended[dim]["attempts"]) for dim in (2, 4)] == [1, 3]


@pytest.mark.slow
def test_a_tracking_server_that_is_away_costs_the_sweep_nothing_and_catches_up(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server").mkdir()
    shutil.copy(empty_database, tmp_path / "server/mlflow.db")
    server = Server(tmp_path / "server")
    driver = start(tmp_path, *WORDS, f"tracking.uri={server.uri}", tracking="mlflow")
    output, errors = driver.communicate(timeout=PATIENCE_SECONDS)
    assert (driver.returncode, errors) == (0, ""), output
    assert "the record of s is behind" in output and verdicts(tmp_path) == ["complete"] * 3
    assert main(["sync", "s"]) == 1
    server.start()
    try:
        assert main(["sync", "s"]) == 0
        contents = Contents(server.uri)
        found = contents.runs()
        assert len(found) == 4 and {run.info.status for run in found.values()} == {"FINISHED"}
        for folder in (tmp_path / "runs/s").glob("0*"):
            wanted = read_metrics(folder / "metrics.jsonl")["val/loss"]
            assert contents.history(found[f"s/{folder.name}"], "val/loss") == sorted(wanted.items())
    finally:
        server.stop()

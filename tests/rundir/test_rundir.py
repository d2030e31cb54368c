"""The run folder: whole files, torn lines, locks of the dead, signatures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeplora.rundir.files import read_json, write_json, write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold, is_held
from sweeplora.rundir.metrics import MetricsTail, MetricsWriter, read_metrics, unread_lines
from sweeplora.rundir.signature import signature


def test_a_torn_last_line_is_dropped_and_the_next_writer_starts_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsWriter(path).write(1, {"loss": 0.5})
    with path.open("ab") as stream:
        stream.write(b'{"step": 2, "time": 1, "val')
    assert read_metrics(path) == {"loss": {1: 0.5}}
    MetricsWriter(path).write(2, {"loss": 0.25})
    assert read_metrics(path) == {"loss": {1: 0.5, 2: 0.25}}


def test_the_last_value_of_a_step_is_the_true_one(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path / "metrics.jsonl")
    for step, value in [(1, 1.0), (2, 2.0), (1, 3.0)]:
        writer.write(step, {"loss": value})
    assert read_metrics(tmp_path / "metrics.jsonl")["loss"] == {1: 3.0, 2: 2.0}


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"3",
        b'{"step": 2, "time": 1.0, "values": [1]}',
        b'{"step": "2", "time": 1.0, "values": {"loss": 9.0}}',
        b'{"step": 2, "time": null, "values": {"loss": 9.0}}',
        b'{"step": 2, "time": 1.0, "values": {"loss": "9"}}',
        b'{"step": 2, "time": 1.0, "values": {"loss": null}}',
        b"\xff\x00",
        b"[" * 100_000,
    ],
)
def test_a_line_of_another_shape_is_dropped(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsWriter(path).write(1, {"loss": 0.5})
    with path.open("ab") as stream:
        stream.write(line + b"\n")
    MetricsWriter(path).write(3, {"loss": 0.25})
    assert read_metrics(path) == {"loss": {1: 0.5, 3: 0.25}}


def test_a_changed_bit_of_a_line_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsWriter(path).write(12, {"loss": 0.512345, "val/loss": 0.25})
    whole, told = path.read_bytes(), read_metrics(path)
    assert told == {"loss": {12: 0.512345}, "val/loss": {12: 0.25}} and unread_lines(path) == []
    for place in range(len(whole) - 1):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            found = read_metrics(path)
            assert found == told or (found == {} and unread_lines(path)), path.read_bytes()


def test_lines_of_an_earlier_version_have_no_checksum_and_count(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "time": 2.5, "values": {"loss": 0.5}}\n')
    MetricsWriter(path).write(2, {"loss": 0.25})
    assert read_metrics(path) == {"loss": {1: 0.5, 2: 0.25}} and unread_lines(path) == []


def test_a_tail_gives_every_point_once_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    assert tail.poll() == []
    MetricsWriter(path).write(1, {"loss": 0.5, "lr/unet": 1e-4})
    assert [(p.step, p.key, p.value) for p in tail.poll()] == [(1, "loss", 0.5), (1, "lr/unet", 1e-4)]
    line = json.dumps({"step": 2, "time": 0.0, "values": {"loss": 0.1}}).encode() + b"\n"
    with path.open("ab") as stream:
        stream.write(line[:20])
    assert tail.poll() == []
    with path.open("ab") as stream:
        stream.write(line[20:])
    assert [p.step for p in tail.poll()] == [2]
    assert tail.poll() == []


def test_a_writer_killed_half_way_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"status": "finished"})
    script = (
        "import os, sys, pathlib\n"
        "from sweeplora.rundir import files\n"
        "files.os.fsync = lambda fd: os.kill(os.getpid(), 9)\n"
        "files.write_whole(pathlib.Path(sys.argv[1]), 'x' * 1000)\n"
    )
    code = subprocess.run([sys.executable, "-c", script, str(path)], check=False, env=_environment()).returncode
    assert code == -signal.SIGKILL
    assert read_json(path) == {"status": "finished"}


def test_a_lock_is_free_as_soon_as_its_holder_is_dead(tmp_path: Path) -> None:
    lock = tmp_path / "supervisor.lock"
    script = (
        "import sys, pathlib, time\n"
        "from sweeplora.rundir.lock import hold\n"
        "held = hold(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE, env=_environment())
    try:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        assert is_held(lock)
        with pytest.raises(BlockingIOError):
            hold(lock)
    finally:
        child.kill()
        child.wait()
    assert not is_held(lock)
    hold(lock).close()


def test_the_signature_ignores_where_and_how_but_no_setting(tmp_path: Path) -> None:
    config = {"network": {"dim": 8}, "data": {"dir": "/a"}, "runs": "runs", "launcher": {"slots": 1}}
    code = {"torch": "2.13.0"}
    one = signature(config, {"data.dir": "abc"}, code)
    elsewhere = config | {"runs": "/tmp/r", "launcher": {"slots": 4}, "data": {"dir": "/moved"}}
    assert signature(elsewhere, {"data.dir": "abc"}, code) == one
    assert signature(config | {"network": {"dim": 16}}, {"data.dir": "abc"}, code) != one
    assert signature(config, {"data.dir": "abd"}, code) != one
    assert signature(config, {"data.dir": "abc"}, {"torch": "2.14.0"}) != one


def test_creating_a_run_writes_its_config_whole(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "a" / "b", "seed: 1\n")
    assert run.config.read_text() == "seed: 1\n"
    write_whole(run.config, "seed: 2\n")
    assert [p.name for p in run.path.iterdir()] == ["config.yaml"]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

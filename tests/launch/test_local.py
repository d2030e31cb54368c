from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.launch.gpus import visible_gpus
from sweeplora.launch.launcher import TRAINING
from sweeplora.launch.local import Local, command
from sweeplora.launch.process import descendants, signal_family, start_ticks
from sweeplora.launch.slot import Slot
from tests.sweep.commands import until


def local(**changed: object) -> Local:
    plain = {"slots": None, "processes_per_trial": 1, "threads": None, "device": "cpu", "attempts": 2}
    return Local(**(plain | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cores", "changed", "most", "expected"),
    [
        (2, {}, 12, (2, 1)),
        (2, {}, 1, (1, 2)),
        (16, {}, 12, (4, 4)),
        (16, {"slots": 8}, 12, (8, 2)),
        (16, {"threads": 8}, 12, (2, 8)),
        (16, {"processes_per_trial": 8}, 12, (2, 1)),
        (2, {"processes_per_trial": 4}, 12, (1, 1)),
    ],
)
def test_cores_are_shared_out_evenly(
    monkeypatch: pytest.MonkeyPatch, cores: int, changed: dict[str, int], most: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    slots = local(**changed).plan(most)
    assert (len(slots), slots[0].threads) == expected


def test_each_slot_has_gpus_of_its_own_until_there_are_more_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    assert [slot.gpus for slot in local(device=None).plan(9)] == [("2",), ("3",), ("5",), ("7",)]
    pairs = local(device=None, processes_per_trial=2).plan(9)
    assert [slot.gpus for slot in pairs] == [("2", "3"), ("5", "7")]
    assert pairs[1].environment()["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert pairs[1].environment()["SWEEPLORA_DEVICE"] == "cuda"
    shared = local(device="cuda", slots=8).plan(9)
    assert [slot.gpus for slot in shared[4:6]] == [("2",), ("3",)]


def test_a_trial_of_more_processes_than_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match=r"launcher.processes_per_trial=2: this machine shows 1 GPUs"):
        local(device="cuda", processes_per_trial=2).plan(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"launcher.device=cpu"):
        local(device="cuda").plan(1)


def test_gpus_are_counted_without_torch() -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0, GPU-abc"}) == ("0", "GPU-abc")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == ()


def test_one_process_is_started_directly_and_several_through_accelerate() -> None:
    run = Path("runs/s/000-abc")
    alone = command(run, Slot(0, 1, 2, "cpu", ()), TRAINING)
    assert alone == [sys.executable, "-m", "sweeplora.training.train", str(run)]
    words = command(run, Slot(0, 2, 3, "cuda", ("0", "1")), TRAINING)
    assert words[:4] == [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    assert words[-3:] == ["--module", "sweeplora.training.train", str(run)]
    for flag, value in (("--num_processes", "2"), ("--main_process_port", "0"), ("--mixed_precision", "no")):
        assert words[words.index(flag) + 1] == value


def test_a_signal_reaches_grandchildren_in_sessions_of_their_own() -> None:
    inner = "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
    until(lambda: len(descendants(process.pid)) == 1)
    (grandchild,) = descendants(process.pid)
    signal_family(process.pid, signal.SIGKILL)
    assert process.wait(timeout=5) == -signal.SIGKILL
    until(lambda: start_ticks(grandchild) is None, seconds=5)


def test_a_process_is_told_from_a_later_one_of_the_same_id() -> None:
    process = subprocess.Popen(["sleep", "60"])
    born = start_ticks(process.pid)
    time.sleep(0.05)
    assert born is not None and start_ticks(process.pid) == born != start_ticks(os.getpid())
    process.kill()
    process.wait()
    assert start_ticks(process.pid) is None

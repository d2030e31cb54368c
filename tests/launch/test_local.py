from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.launch.command import command
from sweeplora.launch.launcher import TRAINING
from sweeplora.launch.local import Local
from sweeplora.launch.process import descendants, signal_family, start_ticks
from sweeplora.launch.slot import Slot
from tests.sweep.commands import PATIENCE_SECONDS, until


def local(**changed: object) -> Local:
    plain: dict[str, object] = {"slots": None, "processes_per_trial": 1, "threads": None, "device": "cpu"}
    return Local(**(plain | {"trials_per_gpu": 1, "attempts": 2} | changed))  # type: ignore[arg-type]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give this machine so many cores."""
    return lambda count: monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)))


@pytest.mark.parametrize(
    ("count", "changed", "most", "expected"),
    [
        (2, {}, 12, (2, 1)),
        (2, {}, 1, (1, 2)),
        (16, {}, 12, (4, 4)),
        (16, {"slots": 8}, 12, (8, 2)),
        (16, {"threads": 8}, 12, (2, 8)),
        (16, {"processes_per_trial": 8}, 12, (2, 1)),
        (2, {"processes_per_trial": 2}, 12, (1, 1)),
    ],
)
def test_cores_are_shared_out_evenly(
    cores: Callable[[int], None], count: int, changed: dict[str, int], most: int, expected: tuple[int, int]
) -> None:
    cores(count)
    slots = local(**changed).plan(most).slots
    assert (len(slots), slots[0].threads) == expected


@pytest.mark.parametrize("most", [1, 12])
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"threads": 5}, "launcher.threads=5: this machine has 4 cores; give at most 4"),
        ({"threads": 10**9}, "launcher.threads=1000000000: this machine has 4 cores"),
        (
            {"processes_per_trial": 5},
            "launcher.processes_per_trial=5: .* 4 cores, and each process takes 1",
        ),
        ({"processes_per_trial": 3, "threads": 2}, "launcher.processes_per_trial=3: .* takes 2; give at most 2"),
        ({"slots": 5}, "launcher.slots=5: this machine has 4 cores, and a trial takes 1 x 1; give at most 4"),
        (
            {"slots": 2, "processes_per_trial": 2, "threads": 2},
            "launcher.slots=2: .* 2 x 2; give at most 1",
        ),
        ({"trials_per_gpu": 2}, "launcher.trials_per_gpu=2: has no effect without a GPU"),
    ],
)
def test_values_that_this_machines_cores_cannot_hold_are_refused(
    cores: Callable[[int], None], changed: dict[str, int], most: int, told: str
) -> None:
    cores(4)
    with pytest.raises(UserError, match=told):
        local(**changed).plan(most)


def test_what_goes_on_keeps_its_threads_and_says_where_the_machine_has_too_few_cores(
    cores: Callable[[int], None],
) -> None:
    cores(8)
    began = local().plan(3).slots[0].shape
    assert began == (1, 2)
    assert [slot.shape for slot in local().plan(1, began).slots] == [began]
    assert len(local().plan(9, began).slots) == 4
    assert local().plan(1, began).notices == ()
    cores(1)
    plan = local().plan(9, began)
    assert [slot.shape for slot in plan.slots] == [began]
    (notice,) = plan.notices
    cores(2)
    (other,) = local(slots=2).plan(9, began).notices
    assert "1 at once, not launcher.slots=2" in other
    assert "this machine has 1 cores" in notice and "2 threads" in notice
    with pytest.raises(UserError, match=r"launcher.threads=4: it began with 2"):
        local(threads=4).plan(1, began)
    with pytest.raises(UserError, match=r"launcher.processes_per_trial=2: it began with 1"):
        local(processes_per_trial=2).plan(1, began)


def test_each_slot_has_gpus_of_its_own_until_they_are_to_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    assert [slot.gpus for slot in local(device=None).plan(9).slots] == [("2",), ("3",), ("5",), ("7",)]
    pairs = local(device=None, processes_per_trial=2).plan(9).slots
    assert [slot.gpus for slot in pairs] == [("2", "3"), ("5", "7")]
    assert pairs[1].environment()["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert pairs[1].environment()["SWEEPLORA_DEVICE"] == "cuda"
    shared = local(device="cuda", trials_per_gpu=2).plan(9).slots
    assert [slot.gpus for slot in shared[3:6]] == [("7",), ("2",), ("3",)]


@pytest.mark.parametrize(
    ("gpus", "changed", "told"),
    [
        ("0", {"processes_per_trial": 2}, "launcher.processes_per_trial=2: this machine shows 1 GPU; give at most 1"),
        ("0,1", {"slots": 3}, "launcher.slots=3: this machine shows 2 GPUs, .* at most 2, .*launcher.trials_per_gpu"),
        ("0,1,2", {"slots": 2, "processes_per_trial": 2}, "launcher.slots=2: .* at most 1"),
        ("", {}, "launcher.device=cuda: this machine shows 0 GPUs; give launcher.device=cpu"),
        ("0", {"threads": 10**6}, "launcher.threads=1000000"),
    ],
)
def test_values_that_these_gpus_cannot_hold_are_refused(
    monkeypatch: pytest.MonkeyPatch, gpus: str, changed: dict[str, int], told: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    with pytest.raises(UserError, match=told):
        local(**{"device": "cuda", **changed}).plan(1)


def test_openmp_threads_sleep_after_a_short_wait_unless_the_user_says_how_they_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    slot = Slot(0, 1, 2, "cpu", ())
    given = slot.environment()
    assert given["OMP_WAIT_POLICY"] == "passive" and 0 < int(given["GOMP_SPINCOUNT"]) < 10_000
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & slot.environment().keys()


def test_one_process_is_started_directly_and_several_through_accelerate() -> None:
    run = Path("runs/s/000-abc")
    alone = command(run, Slot(0, 1, 2, "cpu", ()), TRAINING)
    assert alone == [sys.executable, "-m", "sweeplora.launch.child", "sweeplora.training.worker", str(run)]
    words = command(run, Slot(0, 2, 3, "cuda", ("0", "1")), TRAINING)
    assert words[:4] == [sys.executable, "-m", "sweeplora.launch.together", "--multi_gpu"]
    assert words[-4:] == ["--module", "sweeplora.launch.child", "sweeplora.training.worker", str(run)]
    for flag, value in (("--num_processes", "2"), ("--main_process_port", "0"), ("--mixed_precision", "no")):
        assert words[words.index(flag) + 1] == value


def test_a_signal_reaches_grandchildren_in_sessions_of_their_own() -> None:
    inner = "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
    until(lambda: len(descendants(process.pid)) == 1)
    (grandchild,) = descendants(process.pid)
    signal_family(process.pid, signal.SIGKILL)
    assert process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGKILL
    until(lambda: start_ticks(grandchild) is None)


def test_a_process_is_told_from_a_later_one_of_the_same_id() -> None:
    process = subprocess.Popen(["sleep", "60"])
    born = start_ticks(process.pid)
    time.sleep(0.05)
    assert born is not None and start_ticks(process.pid) == born != start_ticks(os.getpid())
    process.kill()
    process.wait()
    assert start_ticks(process.pid) is None

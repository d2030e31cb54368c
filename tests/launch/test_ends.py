"""Who is killed, and who else then ends: drivers, fork servers, and the processes of one training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeplora.launch.command import start_subprocess
from sweeplora.launch.process import Subprocess, descendants
from sweeplora.launch.slot import Slot
from sweeplora.launch.together import exit_code
from sweeplora.rundir.lock import hold
from tests.launch.contract import MODULE, SLOW, behave, made_run
from tests.sweep.commands import living_in, until

DRIVER = """\
import sys, time
from pathlib import Path

from sweeplora.launch.local import Local
from sweeplora.launch.slot import Slot
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold

folder, module, most, processes = sys.argv[1:]
run = RunDir(Path(folder))
launcher = Local(
    slots=None, processes_per_trial=int(processes), threads=1, device="cpu", trials_per_gpu=1, attempts=1
)
launcher.plan(int(most))
with hold(run.lock):
    launcher.start(run, Slot(0, int(processes), 1, "cpu", ()), module)
    time.sleep(600)
"""
LASTING = "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(600)\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The test's own folder, with a module whose import takes for ever; nothing of a failed test stays there."""
    monkeypatch.chdir(tmp_path)
    behave(monkeypatch, dict(SLOW))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    (tmp_path / "lasting.py").write_text(LASTING)
    yield tmp_path
    for pid in set(living_in(tmp_path)) - {os.getpid()}:
        os.kill(pid, signal.SIGKILL)


def driver_of(folder: Path, module: str, most: int, processes: int) -> subprocess.Popen[bytes]:
    """A driver with one training."""
    words = [str(made_run(folder, "a").path), module, str(most), str(processes)]
    return subprocess.Popen([sys.executable, "-c", DRIVER, *words])


@pytest.mark.parametrize(
    ("most", "processes", "module"),
    [
        *((most, 1, module) for most in (2, 1) for module in (MODULE, "lasting")),
        (1, 2, "lasting"),
        pytest.param(1, 2, MODULE, marks=pytest.mark.slow),
    ],
)
def test_a_killed_driver_takes_its_training_along_even_one_that_imports(
    tmp_path: Path, module: str, most: int, processes: int
) -> None:
    driver = driver_of(tmp_path, module, most, processes)
    begun = tmp_path / ("importing" if module == "lasting" else "a/metrics.jsonl")
    until(begun.exists)
    driver.kill()
    driver.wait()
    until(lambda: living_in(tmp_path) == [os.getpid()])


def together(folder: Path) -> tuple[Subprocess, list[int]]:
    """A training of two processes under way, and their ids."""
    run = made_run(folder, "a")
    started = start_subprocess(run, Slot(0, 2, 1, "cpu", ()), MODULE)
    assert started.pid is not None
    until(run.metrics.exists)
    ranks = [pid for pid in descendants(started.pid) if MODULE in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(ranks) == 2
    return started, ranks


def test_the_signal_that_ended_one_of_several_processes_is_the_trainings_end(tmp_path: Path) -> None:
    with hold(made_run(tmp_path, "a").lock):
        started, ranks = together(tmp_path)
        os.kill(ranks[-1], signal.SIGKILL)
        until(lambda: started.poll() is not None)
        assert started.poll() == -signal.SIGKILL
        until(lambda: living_in(tmp_path) == [os.getpid()])


def test_a_training_has_not_ended_while_one_of_its_processes_writes(tmp_path: Path) -> None:
    with hold(made_run(tmp_path, "a").lock):
        started, ranks = together(tmp_path)
        assert started.pid is not None
        os.kill(started.pid, signal.SIGKILL)
        until(lambda: started.poll() is not None)
        assert started.poll() == -signal.SIGKILL
        assert not set(ranks) & set(living_in(tmp_path))


def test_a_signal_says_more_than_the_failures_that_follow_from_it() -> None:
    assert exit_code([1, -9]) == -9
    assert exit_code([3, 1]) == 3

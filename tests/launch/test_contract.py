"""Every launcher that there is, put through the contract; and one of a user's folder, chosen on the command line."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.launch.launcher import Launcher
from sweeplora.launch.local import Local
from sweeplora.launch.process import trainings_of
from sweeplora.launch.slot import Slot
from sweeplora.rundir.files import read_json
from sweeplora.rundir.lock import hold
from tests.launch.contract import BEHAVIOUR, MODULE, SLOW, LauncherContract, behave, made_run
from tests.sweep.commands import living_in, until
from tests.sweep.drive import main as with_the_standin

YAML = """\
# A launcher of the user's own: one process for each training.
_target_: my_launcher.Plain
attempts: 3
"""
CODE = '''\
"""A launcher of a user's own folder."""

import os
import subprocess
import sys
from dataclasses import dataclass

from sweeplora.errors import UserError
from sweeplora.launch.launcher import AttemptRules, Plan
from sweeplora.launch.slot import Slot


class Process:
    """One training."""

    def __init__(self, process):
        self._process = process
        self.pid = process.pid

    def poll(self):
        return self._process.poll()

    def signal(self, number):
        if self._process.poll() is None:
            os.killpg(self.pid, number)


@dataclass
class Plain:
    """Two slots of one thread."""

    attempts: int

    def __post_init__(self):
        self._started = []

    @property
    def rules(self):
        return AttemptRules(self.attempts, outside_counts=True, grace_seconds=5.0)

    def plan(self, most, shape=None):
        if shape and shape.processes != 1:
            raise UserError("launcher", "toy", "starts one process for each training")
        threads = shape.threads if shape else 1
        return Plan([Slot(index, 1, threads, "cpu", ()) for index in range(min(most, 2))])

    def start(self, run, slot, module):
        with run.log.open("ab") as log:
            words = [sys.executable, "-m", module, str(run.path)]
            environment = os.environ | slot.environment() | {"STARTED_BY": "plain"}
            process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._started.append(Process(process))
        return self._started[-1]

    def close(self, kill=False):
        for started in self._started:
            started.signal(9 if kill else 15)
        for started in self._started:
            started._process.wait(300)
        self._started = []
'''


def local(**changed: object) -> Local:
    plain = {"slots": 2, "processes_per_trial": 1, "threads": None, "device": "cpu", "trials_per_gpu": 1, "attempts": 2}
    return Local(**(plain | changed))  # type: ignore[arg-type]


class TestLocalForked(LauncherContract):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return local()

    def test_a_fork_server_that_was_killed_is_replaced_once_then_done_without(
        self, launcher: Local, slots: list[Slot], tmp_path: Path
    ) -> None:
        forked = []
        for name in ("a", "b", "c"):
            run = made_run(tmp_path, name)
            with hold(run.lock):
                started = launcher.start(run, slots[0], MODULE)
                assert self.ended(started) == 0
                assert started.pid is not None
                server = launcher.server_pid
                forked.append(server is not None)
                if server is not None:
                    os.kill(server, signal.SIGKILL)
                    until(lambda: launcher.server_pid is None)
        assert forked == [True, True, False]

    def test_a_training_outlives_a_killed_fork_server_and_is_followed_to_its_end(
        self, launcher: Local, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behave(monkeypatch, BEHAVIOUR | SLOW)
        run = made_run(tmp_path, "a")
        with hold(run.lock):
            started = launcher.start(run, slots[0], MODULE)
            until(lambda: run.metrics.exists() and started.poll() is None and started.pid is not None)
            assert launcher.server_pid is not None
            os.kill(launcher.server_pid, signal.SIGKILL)
            until(lambda: launcher.server_pid is None)
            assert started.poll() is None
            launcher.close()
        assert (read_json(run.result) or {})["status"] == "interrupted"
        until(lambda: living_in(tmp_path) == [os.getpid()])

    def test_a_slot_keeps_one_process_for_its_trainings_each_with_its_own_log(
        self, launcher: Local, slots: list[Slot], tmp_path: Path
    ) -> None:
        pids = {
            slot.index: {self.trained(launcher, slot, tmp_path / f"{name}{slot.index}") for name in "ab"}
            for slot in slots
        }
        assert [len(found) for found in pids.values()] == [1] * len(slots)
        assert len(set.union(*pids.values())) == len(slots)
        assert all((tmp_path / name / "log.txt").read_text().count("rank") == 1 for name in ("a0", "b0"))

    def trained(self, launcher: Local, slot: Slot, folder: Path, dim: int = 8) -> int | None:
        """Train to the end; returns the process that did."""
        run = made_run(folder.parent, folder.name, dim)
        with hold(run.lock):
            started = launcher.start(run, slot, MODULE)
            self.ended(started)
            assert trainings_of(run.path) == []
        return started.pid

    def test_a_training_that_is_asked_to_stop_ends_and_its_process_goes_on(
        self, launcher: Local, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behave(monkeypatch, BEHAVIOUR | SLOW)
        found = []
        for name in ("a", "b"):
            run = made_run(tmp_path, name)
            with hold(run.lock):
                started = launcher.start(run, slots[0], MODULE)
                until(run.metrics.exists)
                assert started.poll() is None
                assert trainings_of(run.path) == [started.pid]
                started.signal(signal.SIGTERM)
                self.ended(started)
                started.signal(signal.SIGKILL)
            assert (read_json(run.result) or {})["status"] == "interrupted"
            found.append(started.pid)
        assert found[0] == found[1]

    @pytest.mark.parametrize("how", ["crash", "alone", "leave", "killed while it waits"])
    def test_a_process_that_crashed_or_does_not_fit_is_replaced(
        self, launcher: Local, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        behave(monkeypatch, {"steps": 2, how: [5]})
        found = [self.trained(launcher, slots[0], tmp_path / "first")]
        if how.startswith("killed"):
            assert found[0] is not None
            os.kill(found[0], signal.SIGTERM)
        found += [self.trained(launcher, slots[0], tmp_path / name, dim) for name, dim in (("a", 5), ("b", 8))]
        status = [(read_json(tmp_path / name / "result.json") or {}).get("status") for name in ("first", "a", "b")]
        assert status == ["finished", None if how == "crash" else "finished", "finished"]
        stays = [one == other for one, other in itertools.pairwise(found)]
        assert stays == ([True, False] if how in ("crash", "leave") else [False, True])


class TestLocalUnforked(LauncherContract):
    @pytest.fixture
    def launcher(self, monkeypatch: pytest.MonkeyPatch) -> Launcher:
        monkeypatch.setattr("sweeplora.launch.local._MOST_SERVER_DEATHS", 0)
        return local()


@pytest.mark.slow
class TestLocalOfTwoProcesses(LauncherContract):
    @pytest.fixture
    def launcher(self, monkeypatch: pytest.MonkeyPatch) -> Launcher:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
        return local(processes_per_trial=2)


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a launcher's YAML file and its class."""
    (tmp_path / "conf" / "launcher").mkdir(parents=True)
    (tmp_path / "conf" / "launcher" / "toy.yaml").write_text(YAML)
    (tmp_path / "my_launcher.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_launcher", raising=False)
    return tmp_path


class TestLauncherOfAUsersOwn(LauncherContract):
    @pytest.fixture
    def launcher(self, users_folder: Path) -> Launcher:
        made: Launcher = importlib.import_module("my_launcher").Plain(attempts=3)
        return made


def test_a_launcher_of_a_users_folder_is_chosen_by_name(
    users_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["launcher=toy", "tracking=none", "name=a"]
    assert main([*words, "launcher.attempts=0.5"]) == 2
    assert "launcher.attempts" in capsys.readouterr().err
    behave(monkeypatch, {"steps": 3})
    assert with_the_standin(words) == 0, capsys.readouterr()
    trial = json.loads((users_folder / "runs" / "single" / "a" / "trial.json").read_text())
    assert (trial["verdict"], len(trial["attempts"])) == ("complete", 1)
    assert json.loads((users_folder / "runs/single/a/environment.json").read_text())["STARTED_BY"] == "plain"


def test_nothing_outside_of_launch_knows_which_launcher_it_has() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "sweeplora"
    named = re.compile(r"launch\.(local|forks|preload|gpus)\b|\bLocal\b|config\[.launcher.\]\[")
    found = [
        path.relative_to(source)
        for wing in ("sweep", "record", "check", "report")
        for path in (source / wing).rglob("*.py")
        if named.search(path.read_text())
    ]
    assert found == []

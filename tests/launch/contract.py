"""What every launcher keeps to: a test class that a launcher is put through by giving it as the fixture `launcher`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.launch.launcher import Launcher, Started
from sweeplora.launch.slot import Shape, Slot
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from tests.sweep.commands import environment, living_in, until

SLOW = {"steps": 4000, "seconds": 0.02}
BEHAVIOUR = {"fail_always": [3], "crash": [5], "stubborn": [7]}
MODULE = "standin"


def made_run(folder: Path, name: str, dim: int = 8) -> RunDir:
    """A run folder of the stand-in; its behaviour follows from the rank."""
    config = {"network": {"dim": dim, "alpha": 1}, "optimizer": {"lr": 1e-3}}
    return RunDir.create(folder / name, json.dumps(config))


def behave(monkeypatch: pytest.MonkeyPatch, behaviour: dict[str, object]) -> None:
    """Have trainings that are started from now on find the stand-in, behaving so."""
    for key, value in environment(behaviour).items():
        monkeypatch.setenv(key, value)


class LauncherContract:
    """Subclasses give the fixture `launcher`; nothing of it is known here but the protocol.

    The stand-in's working directory is the test's own folder: what still lives there was left behind.
    """

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        behave(monkeypatch, BEHAVIOUR | {"steps": 3})
        return tmp_path

    @pytest.fixture
    def slots(self, launcher: Launcher) -> Iterator[list[Slot]]:
        """The plan for two trainings; whatever a test leaves is ended after it."""
        yield list(launcher.plan(2).slots)
        launcher.close(kill=True)

    def ended(self, started: Started) -> int:
        """Wait for its end; returns the exit code."""
        until(lambda: started.poll() is not None)
        code = started.poll()
        assert code is not None
        return code

    def test_a_plan_holds_as_many_slots_as_asked_for_at_most(self, launcher: Launcher) -> None:
        for most in (1, 2, 100):
            slots = launcher.plan(most).slots
            assert 1 <= len(slots) <= most
            assert [slot.index for slot in slots] == list(range(len(slots)))
            assert len({(slot.shape, slot.device) for slot in slots}) == 1
        assert launcher.rules.attempts >= 1 and launcher.rules.grace_seconds > 0

    def test_a_plan_keeps_the_shape_of_what_it_goes_on_with(self, launcher: Launcher) -> None:
        processes = launcher.plan(2).slots[0].processes
        for threads in (1, 1000):
            plan = launcher.plan(1, Shape(processes, threads))
            assert [slot.shape for slot in plan.slots] == [(processes, threads)]
        with pytest.raises(UserError):
            launcher.plan(1, Shape(processes + 1, 1))

    def test_a_training_finds_its_slot_and_leaves_its_files(
        self, launcher: Launcher, slots: list[Slot], tmp_path: Path
    ) -> None:
        run, slot = made_run(tmp_path, "a"), slots[-1]
        with hold(run.lock):
            run.log.write_text("an earlier attempt\n")
            assert self.ended(launcher.start(run, slot, MODULE)) == 0
        result = read_json(run.result)
        assert result is not None
        assert (result["status"], result["world_size"]) == ("finished", slot.processes)
        found = read_json(run.path / "environment.json")
        assert found is not None
        assert {key: found.get(key) for key in slot.environment()} == slot.environment()
        log = run.log.read_text()
        assert log.startswith("an earlier attempt\n") and "rank 8" in log

    def test_a_failing_training_is_told_by_its_exit_code(
        self, launcher: Launcher, slots: list[Slot], tmp_path: Path
    ) -> None:
        run = made_run(tmp_path, "fails", 3)
        with hold(run.lock):
            assert self.ended(launcher.start(run, slots[0], MODULE)) not in (0, None)
        assert (read_json(run.result) or {})["status"] == "failed"

    def test_a_crash_harms_no_other_training_and_a_signal_reaches_one_alone(
        self, launcher: Launcher, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behave(monkeypatch, BEHAVIOUR | SLOW)
        steady, crashing = made_run(tmp_path, "steady"), made_run(tmp_path, "crashing", 5)
        with hold(steady.lock), hold(crashing.lock):
            long = launcher.start(steady, slots[0], MODULE)
            short = launcher.start(crashing, slots[-1], MODULE)
            assert self.ended(short) != 0
            assert not crashing.result.exists()
            until(steady.metrics.exists)
            assert long.poll() is None
            short.signal(signal.SIGKILL)
            long.signal(signal.SIGTERM)
            self.ended(long)
        assert (read_json(steady.result) or {})["status"] == "interrupted"

    def test_a_signal_reaches_every_process_of_a_training(
        self, launcher: Launcher, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behave(monkeypatch, BEHAVIOUR | SLOW)
        run = made_run(tmp_path, "deaf", 7)
        with hold(run.lock):
            started = launcher.start(run, slots[0], MODULE)
            until(run.metrics.exists)
            started.signal(signal.SIGKILL)
            assert self.ended(started) != 0
            launcher.close()
        until(lambda: living_in(tmp_path) == [os.getpid()])

    def test_closing_ends_trainings_in_order_and_may_be_said_twice(
        self, launcher: Launcher, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behave(monkeypatch, BEHAVIOUR | SLOW)
        runs = [made_run(tmp_path, name) for name in ("a", "b")][: len(slots)]
        locks = [hold(run.lock) for run in runs]
        for run, slot in zip(runs, slots, strict=False):
            launcher.start(run, slot, MODULE)
        until(lambda: all(run.metrics.exists() for run in runs))
        launcher.close()
        for run in runs:
            assert (read_json(run.result) or {})["status"] == "interrupted"
        until(lambda: living_in(tmp_path) == [os.getpid()])
        launcher.close()
        launcher.close(kill=True)
        for lock in locks:
            lock.close()

    def test_closing_at_once_leaves_nothing(
        self, launcher: Launcher, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behave(monkeypatch, BEHAVIOUR | SLOW)
        run = made_run(tmp_path, "deaf", 7)
        with hold(run.lock):
            launcher.start(run, slots[0], MODULE)
            until(run.metrics.exists)
            launcher.close(kill=True)
            until(lambda: living_in(tmp_path) == [os.getpid()])

    def test_closing_right_after_a_start_leaves_nothing(
        self, launcher: Launcher, slots: list[Slot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        behave(monkeypatch, BEHAVIOUR | SLOW)
        run = made_run(tmp_path, "a")
        with hold(run.lock):
            launcher.start(run, slots[0], MODULE)
            launcher.close()
            until(lambda: living_in(tmp_path) == [os.getpid()])

    def test_it_starts_again_after_it_was_closed(self, launcher: Launcher, slots: list[Slot], tmp_path: Path) -> None:
        launcher.close()
        run = made_run(tmp_path, "a")
        with hold(run.lock):
            assert self.ended(launcher.start(run, slots[0], MODULE)) == 0

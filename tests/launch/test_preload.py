from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from sweeplora.launch.forks import Forked, Parent, Starter, ahead
from sweeplora.launch.process import LOST, Own
from sweeplora.launch.slot import Slot
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from tests.sweep.commands import environment, living_in, until

SLOT = Slot(0, 1, 3, "cpu", ())
SLOW = {"steps": 400, "seconds": 0.05}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for key, value in environment(SLOW).items():
        monkeypatch.setenv(key, value)


def held_run(folder: Path, name: str, dim: int = 8) -> RunDir:
    config = {"network": {"dim": dim, "alpha": 1}, "optimizer": {"lr": 1e-3}}
    return RunDir.create(folder / name, json.dumps(config))


def test_children_have_their_own_log_environment_and_session(tmp_path: Path) -> None:
    parent = Parent(["standin"], {"STANDIN": "{}"}, tmp_path / "preload.log")
    run = held_run(tmp_path, "a")
    with hold(run.lock):
        child = parent.fork(run, SLOT)
        until(lambda: child.poll() is not None)
    assert child.poll() == 0
    assert "rank 8, 3 threads" in run.log.read_text()
    assert (read_json(run.result) or {})["status"] == "finished"
    parent.close()
    assert living_in(tmp_path) == [os.getpid()]


def test_a_child_that_crashes_harms_no_other(tmp_path: Path) -> None:
    parent = Parent(["standin"], {"STANDIN": json.dumps({**SLOW, "crash": [16]})}, tmp_path / "preload.log")
    steady, crashing = held_run(tmp_path, "steady"), held_run(tmp_path, "crashing", 16)
    with hold(steady.lock), hold(crashing.lock):
        long, short = parent.fork(steady, SLOT), parent.fork(crashing, SLOT)
        until(lambda: short.poll() is not None)
        assert short.poll() == -signal.SIGSEGV
        until(steady.metrics.exists)
        assert long.poll() is None and parent.alive
        long.signal(signal.SIGTERM)
        until(lambda: long.poll() is not None)
    assert long.poll() == 4
    parent.close()


def test_closing_the_parent_ends_its_children_in_order(tmp_path: Path) -> None:
    parent = Parent(["standin"], {}, tmp_path / "preload.log")
    run = held_run(tmp_path, "a")
    with hold(run.lock):
        parent.fork(run, SLOT)
        until(run.metrics.exists)
        parent.close()
    assert (read_json(run.result) or {})["status"] == "interrupted"
    assert living_in(tmp_path) == [os.getpid()]


def test_a_training_outlives_its_parent_and_is_followed_to_its_end(tmp_path: Path) -> None:
    parent = Parent(["standin"], {}, tmp_path / "preload.log")
    run = held_run(tmp_path, "a")
    with hold(run.lock):
        child = parent.fork(run, SLOT)
        until(run.metrics.exists)
        parent.hear()
        parent.kill()
        assert child.poll() is None
        child.signal(signal.SIGTERM)
        until(lambda: child.poll() is not None)
    assert (read_json(run.result) or {})["status"] == "interrupted"


def test_a_parent_that_keeps_dying_is_done_without(tmp_path: Path) -> None:
    starter = Starter(["standin"], tmp_path / "preload.log", forks=True)
    kinds = []
    for name in ("a", "b", "c"):
        run = held_run(tmp_path, name)
        with hold(run.lock):
            child = starter.start(run, SLOT)
            kinds.append(type(child))
            until(run.metrics.exists)
            child.poll()
            if isinstance(child, Forked):
                starter.kill()
            child.signal(signal.SIGTERM)
            until(lambda child=child: child.poll() is not None)  # type: ignore[misc]
    assert kinds == [Forked, Forked, Own]
    starter.close()


def test_a_parent_that_cannot_import_fails_its_children_and_says_why(tmp_path: Path) -> None:
    parent = Parent(["no_such_training"], {}, tmp_path / "preload.log")
    child = parent.fork(held_run(tmp_path, "a"), SLOT)
    until(lambda: child.poll() is not None)
    assert child.poll() == LOST and child.pid is None
    assert "no_such_training" in (tmp_path / "preload.log").read_text()


def test_the_parent_imports_what_the_config_has_the_training_build() -> None:
    config = {
        "model": {"_target_": "sweeplora.models.sdxl.SDXL"},
        "network": {"_target_": "sweeplora.networks.algorithms.LoCon"},
        "optimizer": {"_target_": "torch.optim.AdamW"},
        "launcher": {"_target_": "sweeplora.launch.local.Local"},
        "seed": 0,
    }
    assert ahead("sweeplora.training.train", config) == [
        *("sweeplora.training.train", "sweeplora.models.sdxl", "sweeplora.networks.algorithms")
    ]
    assert ahead("standin", config) == ["standin"]

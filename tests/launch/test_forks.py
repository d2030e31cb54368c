from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweeplora.launch.forks import ForkClient, modules_ahead
from sweeplora.launch.process import EXIT_LOST, descendants, is_worker, start_ticks
from sweeplora.launch.slot import Slot
from sweeplora.rundir.lock import hold
from tests.launch.contract import behave, made_run
from tests.sweep.commands import until

SLOT = Slot(0, 1, 3, "cpu", ())


def test_a_server_that_cannot_import_loses_its_children_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, {})
    server = ForkClient(["no_such_training"], {})
    server.log_to(tmp_path / "preload.log")
    child = server.train(made_run(tmp_path, "a"), SLOT)
    until(lambda: child.poll() is not None)
    assert child.poll() == EXIT_LOST and child.pid is None
    assert "no_such_training" in (tmp_path / "preload.log").read_text()


def test_the_server_imports_what_the_config_has_the_training_build() -> None:
    config = {
        "model": {"_target_": "sweeplora.models.sdxl.SDXL"},
        "network": {"_target_": "sweeplora.networks.algorithms.LoCon"},
        "optimizer": {"_target_": "torch.optim.AdamW"},
        "launcher": {"_target_": "sweeplora.launch.local.Local"},
        "seed": 0,
    }
    assert modules_ahead("sweeplora.training.worker", config) == [
        *("sweeplora.training.worker", "sweeplora.models.sdxl", "sweeplora.networks.algorithms")
    ]
    assert modules_ahead("standin", config) == ["standin"]


def test_where_an_import_has_started_cuda_each_worker_is_a_python_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, {"steps": 3})
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    (tmp_path / "starts_cuda.py").write_text(
        "import sys, types\n"
        "cuda = types.SimpleNamespace(_is_in_bad_fork=lambda: True)\n"
        "sys.modules['torch'] = types.SimpleNamespace(cuda=cuda)\n"
    )
    slots = [Slot(index, 1, 1, "cuda", (str(index),)) for index in range(2)]
    server = ForkClient(["standin", "starts_cuda"], slots[0].environment())
    server.log_to(tmp_path / "preload.log")
    try:
        pids, seen = [], []
        for number, slot in enumerate([slots[0], slots[1], slots[0]]):
            run = made_run(tmp_path, str(number))
            with hold(run.lock):
                child = server.train(run, slot)
                until(lambda child=child: child.poll() is not None)  # type: ignore[misc]
            assert child.poll() == 0 and child.pid is not None, (tmp_path / "preload.log").read_text()
            pids.append(child.pid)
            words = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
            seen.append(next(word for word in words if word.startswith(b"CUDA_VISIBLE_DEVICES=")))
            assert is_worker(child.pid) and child.pid in descendants(server.pid)
    finally:
        server.close()
    assert pids[0] == pids[2] != pids[1]
    assert seen == [b"CUDA_VISIBLE_DEVICES=0", b"CUDA_VISIBLE_DEVICES=1", b"CUDA_VISIBLE_DEVICES=0"]
    assert "an imported library has started CUDA" in (tmp_path / "preload.log").read_text()
    assert all(start_ticks(pid) is None for pid in pids), "none is left"

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.launch.forks import ForkClient, modules_ahead
from sweeplora.launch.process import EXIT_LOST
from sweeplora.launch.slot import Slot
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

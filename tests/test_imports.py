"""The direction of the imports, and that nothing heavy comes along where a start must be quick."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeplora.config.imports import imported, is_light, reachable
from sweeplora.config.sources import Source, source_of

SRC = Path(__file__).resolve().parents[1] / "src"
PACKAGE = SRC / "sweeplora"
MODULES = sorted(
    ".".join(file.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__") for file in PACKAGE.rglob("*.py")
)
HEAVY = {"torch", "diffusers", "transformers", "lycoris", "accelerate", "peft"}


def _source(module: str) -> Source:
    source = source_of(module)
    assert source is not None
    return source


def _outside(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(_source(module), late=True)}


def test_the_training_never_sees_mlflow_optuna_or_who_started_it() -> None:
    training = reachable(["sweeplora.training.worker"], late=True)
    assert "sweeplora.training.loop" in training
    for module in training:
        assert not _outside(module) & {"mlflow", "optuna", "rich", "git"}, module
        assert module.split(".")[1:2] not in (["sweep"], ["record"], ["check"], ["compose"], ["__main__"]), module


def test_the_check_is_light_however_deep_one_looks() -> None:
    for module in reachable(["sweeplora.check.configuration", "sweeplora.config.compose"], late=True):
        assert not _outside(module) & (HEAVY | {"mlflow", "optuna"}), module
    assert is_light("sweeplora.check.configuration")
    assert not is_light("sweeplora.training.loop")


def test_only_networks_touches_lycoris() -> None:
    assert {module.split(".")[1] for module in MODULES if "lycoris" in _outside(module)} <= {"networks", "preload"}


def test_only_record_touches_mlflow_and_only_sweep_touches_optuna() -> None:
    assert {module.split(".")[1] for module in MODULES if "mlflow" in _outside(module)} <= {"record"}
    assert {module.split(".")[1] for module in MODULES if "optuna" in _outside(module)} <= {"sweep"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sweeplora.__main__", {"torch", "diffusers", "hydra", "optuna", "mlflow", "pydantic", "numpy"}),
        ("sweeplora.config.compose", {"torch", "diffusers", "optuna", "mlflow", "numpy"}),
        ("sweeplora.check.configuration", {"torch", "diffusers", "transformers", "lycoris", "optuna", "mlflow"}),
        ("sweeplora.sweep.study", {"torch", "diffusers", "transformers", "lycoris", "mlflow"}),
        ("sweeplora.record.mirror", {"torch", "diffusers", "mlflow", "optuna"}),
        ("sweeplora.training.worker", {"mlflow", "optuna", "rich", "git"}),
    ],
)
def test_importing_really_brings_nothing_of_that(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600, check=True
    )
    assert not set(done.stdout.split()) & absent

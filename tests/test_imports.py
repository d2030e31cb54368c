"""The direction of the imports, and that nothing heavy comes along where a start must be quick."""

from __future__ import annotations

import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from sweeplora.imports import imported, is_light, reachable
from sweeplora.sources import Source, source_of

SRC = Path(__file__).resolve().parents[1] / "src"
PACKAGE = SRC / "sweeplora"
MODULES = sorted(
    ".".join(file.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__") for file in PACKAGE.rglob("*.py")
)
HEAVY = {"torch", "diffusers", "transformers", "lycoris", "accelerate", "peft"}
SHARED = {"sweeplora", "sweeplora.rundir", "sweeplora.errors", "sweeplora.content", "sweeplora.randomness"}
"""What sweep/, record/ and the training may all import: the run folder, and a few small nouns below it."""


def _source(module: str) -> Source:
    source = source_of(module)
    assert source is not None
    return source


def _ours(module: str) -> set[str]:
    """Modules of ours that a module imports, packages' own files aside."""
    names = {name for name in imported(_source(module), late=True) if name.partition(".")[0] == "sweeplora"}
    return {name for name in names if name in MODULES}


def _outside(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(_source(module), late=True)}


def _below(*parts: str) -> list[str]:
    return [module for module in MODULES if module.split(".")[1:2] and module.split(".")[1] in parts]


@pytest.mark.parametrize("module", ["sweeplora.rundir", "sweeplora.errors", "sweeplora.randomness"])
def test_the_base_imports_nothing_of_ours(module: str) -> None:
    assert _ours(module) == set()


@pytest.mark.parametrize("module", _below("sweep"))
def test_sweep_shares_only_the_base_with_the_rest(module: str) -> None:
    allowed = SHARED | {name for name in MODULES if name.startswith("sweeplora.sweep")}
    assert _ours(module) <= allowed
    assert not _outside(module) & (HEAVY | {"mlflow"})


@pytest.mark.parametrize("module", _below("record"))
def test_record_shares_only_the_base_with_the_rest(module: str) -> None:
    allowed = SHARED | {name for name in MODULES if name.startswith("sweeplora.record")}
    assert _ours(module) <= allowed
    assert not _outside(module) & (HEAVY | {"optuna"})


def test_the_training_never_sees_mlflow_optuna_or_who_started_it() -> None:
    training = reachable(["sweeplora.train"], late=True)
    assert "sweeplora.loop" in training
    for module in training:
        assert not _outside(module) & {"mlflow", "optuna", "rich", "git"}, module
        assert module.split(".")[1:2] not in (["sweep"], ["record"], ["check"], ["compose"], ["__main__"]), module


def test_the_check_is_light_however_deep_one_looks() -> None:
    for module in reachable(["sweeplora.check", "sweeplora.compose"], late=True):
        assert not _outside(module) & (HEAVY | {"mlflow", "optuna"}), module
    assert is_light("sweeplora.check")
    assert not is_light("sweeplora.loop")


def test_only_networks_touches_lycoris() -> None:
    assert {module.split(".")[1] for module in MODULES if "lycoris" in _outside(module)} <= {"networks", "preload"}


def test_only_record_touches_mlflow_and_only_sweep_touches_optuna() -> None:
    assert {module.split(".")[1] for module in MODULES if "mlflow" in _outside(module)} <= {"record"}
    assert {module.split(".")[1] for module in MODULES if "optuna" in _outside(module)} <= {"sweep"}


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        module: {n for n in imported(_source(module), late=False) if n in MODULES} - {module} for module in MODULES
    }
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sweeplora.__main__", {"torch", "diffusers", "hydra", "optuna", "mlflow", "pydantic", "numpy"}),
        ("sweeplora.compose", {"torch", "diffusers", "optuna", "mlflow", "numpy"}),
        ("sweeplora.check", {"torch", "diffusers", "transformers", "lycoris", "optuna", "mlflow"}),
        ("sweeplora.sweep.study", {"torch", "diffusers", "transformers", "lycoris", "mlflow"}),
        ("sweeplora.record.mirror", {"torch", "diffusers", "mlflow", "optuna"}),
        ("sweeplora.train", {"mlflow", "optuna", "rich", "git"}),
    ],
)
def test_importing_really_brings_nothing_of_that(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert not set(done.stdout.split()) & absent

"""The command line as a process: what it prints, where, and how it exits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

_HEAVY = ("torch", "diffusers", "transformers", "lycoris", "mlflow", "optuna", "hydra")


def _run(folder: Path, *words: str, python: tuple[str, ...] = ("-m", "sweeplora")) -> subprocess.CompletedProcess[str]:
    source = Path(__file__).resolve().parents[1] / "src"
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *python, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_groups_sweeps_and_verbs_also_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/mine.yaml").write_text("# @package _global_\n# Is mine better?\nsweep: {name: mine}\n")
    done = _run(tmp_path, "--help")
    assert done.returncode == 0
    assert "locon | loha | lokr" in done.stdout
    assert "Is mine better?" in done.stdout
    assert "Which rank and alpha suit this data?" in done.stdout
    assert "sweeplora ui" in done.stdout


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    started = time.monotonic()
    done = _run(tmp_path, "--help", python=("-X", "importtime", "-m", "sweeplora"))
    assert time.monotonic() - started < 1.5
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not imported & set(_HEAVY)


def test_cfg_prints_the_configuration_and_runs_nothing(tmp_path: Path) -> None:
    done = _run(tmp_path, "--cfg", "+sweep=rank_alpha", "network.dim=choice(1,2)", "seed=7")
    assert done.returncode == 0
    assert "\nseed: 7\n" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["network.dimm=4"], "network.dimm=4: no such key; nearest: network.dim"),
        (["network=lokar"], "network=lokar: no such choice; there are: boft, diag-oft, dora, "),
        (["+sweep=rank_alfa"], "+sweep=rank_alfa: no such sweep; nearest: rank_alpha"),
        (["network.dim=eight"], "network.dim=eight: expected a whole number >= 1"),
        (["+sweep=rank_alpha", "network.dimm=choice(1,2)"], "network.dimm=1: no such key"),
        (["+sweep=rank_alpha", "network.dim=choice(4,-1)"], "network.dim=-1: expected a whole number >= 1"),
        (["launcher.device=cpu", "train.mixed_precision=fp16"], "train.mixed_precision=fp16: a CPU has no half"),
        (["model=sdxl", "model.path=/no/model"], "model.path=/no/model: it does not exist"),
        (["model=sdxl"], "model.path=???: give model.path="),
        (["runs=/dev/null/runs"], "runs=/dev/null/runs: files cannot be created there"),
        (["ui", "--port", "many"], "--port=many: give a port number"),
        (["ui"], "runs=runs: there is no record yet"),
        (["--verbose"], "command line=--verbose: neither a verb nor key=value"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], said: str, tmp_path: Path) -> None:
    done = _run(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.rglob("config.yaml"))


def test_a_users_own_optimizer_beside_the_run_is_found(tmp_path: Path) -> None:
    (tmp_path / "my_optim.py").write_text(
        "from torch.optim import SGD\n"
        "class LodeW(SGD):\n"
        "    def __init__(self, params, lr: float, pull: int = 3): ...\n"
    )
    (tmp_path / "conf/optimizer").mkdir(parents=True)
    choice = "_target_: my_optim.LodeW\n_partial_: true\nlr: 1.0\npull: 4\n"
    (tmp_path / "conf/optimizer/lode.yaml").write_text(choice)
    done = _run(tmp_path, "optimizer=lode", "optimizer.pull=much")
    assert done.returncode == 2
    assert done.stderr.startswith("optimizer.pull=much: expected a whole number")

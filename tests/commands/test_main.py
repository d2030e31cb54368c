"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.commands import verbs

_HEAVY = ("torch", "diffusers", "transformers", "lycoris", "mlflow", "optuna", "hydra", "pydantic", "numpy")
_SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the commands run in; what they import from it is not found afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def _process(*words: str, python: tuple[str, ...] = ("-m", "sweeplora")) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(_SOURCE), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, *python, *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_help_lists_verbs_groups_and_sweeps_also_the_users_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sweeps").mkdir()
    (folder / "sweeps/mine.yaml").write_text("# @package _global_\n# Is mine better?\nsweep: {name: mine}\n")
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "locon | loha | lokr" in said
    assert "Is mine better?" in said
    assert "Which rank suits this data" in said
    assert "  ui            Open the record in a browser" in said


def test_help_imports_nothing_heavy() -> None:
    done = _process("--help", python=("-X", "importtime", "-m", "sweeplora"))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "sweeplora" in imported
    assert not imported & set(_HEAVY)


@pytest.mark.parametrize("verb", sorted(verbs(Path("/"))))
def test_every_verb_has_help_that_ends_with_an_example_of_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: python -m sweeplora {verb} ")
    assert f"example:\n  python -m sweeplora {verb} " in said


def test_a_verb_is_a_file_that_is_put_into_the_folder_commands(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "commands").mkdir()
    (folder / "commands/count.py").write_text(
        '"""Count the words."""\n\n\ndef main(words: list[str]) -> int:\n    print(len(words))\n    return 7\n'
    )
    (folder / "commands/helper.py").write_text("def other() -> None: ...\n")
    (folder / "commands/broken.py").write_text("def main(:\n")
    (folder / "commands/run.py").write_text("def main(words: list[str]) -> int: return 99\n")
    assert main(["count", "a=1", "--b"]) == 7
    assert capsys.readouterr().out == "2\n"
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "  count         Count the words." in said
    assert "helper" not in said and "broken" not in said
    assert main(["coutn"]) == 2
    assert "nearest: count" in capsys.readouterr().err
    assert main(["run", "--cfg"]) == 0


def test_without_a_verb_the_words_are_those_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cfg", "seed=7"]) == 0
    said = capsys.readouterr().out
    assert main(["run", "seed=7", "--cfg"]) == 0
    assert capsys.readouterr().out == said


def test_cfg_prints_the_configuration_and_runs_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cfg", "+sweep=rank_alpha", "network.dim=choice(1,2)", "seed=7"]) == 0
    assert "\nseed: 7\n" in capsys.readouterr().out
    assert not list(folder.iterdir())


BAD = [
    (["network.dimm=4"], "network.dimm=4: no such key; nearest: network.dim"),
    (["network=lokar"], "network=lokar: no such choice; there are: boft, diag-oft, dora, "),
    (["+sweep=rank_alfa"], "+sweep=rank_alfa: no such sweep; nearest: rank_alpha"),
    (["network.dim=eight"], "network.dim=eight: expected a whole number >= 1"),
    (["+sweep=rank_alpha", "network.dimm=choice(1,2)"], "network.dimm=1: no such key"),
    (["+sweep=rank_alpha", "network.dim=choice(4,-1)"], "network.dim=-1: expected a whole number >= 1"),
    (["optimizer.betas.x=1"], "optimizer.betas.x=1: no such key; a list is given whole, as [a,b]"),
    (["~optimizer.betas.0"], "optimizer.betas.0=: no such key; a list is given whole, as [a,b]"),
    (["launcher.processes_per_trial=0"], "launcher.processes_per_trial=0: expected a whole number >= 1"),
    (
        ["pruner._target_=optuna.pruners.Nope", "network.dim=choice(4,8)", "sweep.trials=2"],
        "pruner._target_=optuna.pruners.Nope: there is no Nope in optuna.pruners",
    ),
    (["launcher.device=cpu", "train.mixed_precision=fp16"], "train.mixed_precision=fp16: a CPU has no half"),
    (["model=sdxl", "model.path=/no/model"], "model.path=/no/model: it does not exist"),
    (["model=sdxl"], "model.path=???: give model.path="),
    (["runs=/dev/null/runs"], "runs=/dev/null/runs: files cannot be created there"),
    (["ui", "--port", "many"], "--port=many: give a port number"),
    (["ui", "--port=²"], "--port=²: give a port number"),
    (["ui", "--port"], "command line=ui: argument --port: expected one argument; see python -m sweeplora ui --help"),
    (["ui"], "runs=runs: there is no record yet"),
    (
        ["optimizer.lr"],
        "command line=optimizer.lr: neither a verb nor key=value; a key needs a value, optimizer.lr=VALUE",
    ),
    (["train.sh"], "command line=train.sh: neither a verb nor key=value; there are: baseline"),
    (
        ["seed=1", "optimizer.lr"],
        "command line=optimizer.lr: neither a verb nor key=value; a key needs a value, optimizer.lr=VALUE",
    ),
    (["init", "one", "two"], "command line=two: a word more than it takes; see python -m sweeplora init --help"),
    (["uii"], "command line=uii: neither a verb nor key=value; nearest: ui"),
    (["--verbose"], "command line=--verbose: no such option; see python -m sweeplora run --help"),
    (["sync", "--runs", "x"], "command line=--runs: no such option; see python -m sweeplora sync --help"),
    (["seed=1", "junk"], "command line=junk: neither a verb nor key=value"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.err.startswith(said)
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert not list(folder.rglob("config.yaml"))


def test_a_process_leaves_with_the_same_line_and_code() -> None:
    done = _process("network.dimm=4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "network.dimm=4: no such key; nearest: network.dim, network.conv_dim, network.dora\n"


def test_a_users_own_optimizer_beside_the_run_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "beside_optim.py").write_text(
        "from torch.optim import SGD\n"
        "class LodeW(SGD):\n"
        "    def __init__(self, params, lr: float, pull: int = 3): ...\n"
    )
    (folder / "conf/optimizer").mkdir(parents=True)
    choice = "_target_: beside_optim.LodeW\n_partial_: true\nlr: 1.0\npull: 4\n"
    (folder / "conf/optimizer/lode.yaml").write_text(choice)
    assert main(["optimizer=lode", "optimizer.pull=much"]) == 2
    assert capsys.readouterr().err.startswith("optimizer.pull=much: expected a whole number")


def _shell(line: str) -> tuple[int, str]:
    """Exit code of the command itself, and what the shell saw on the standard error."""
    environment = os.environ | {"PYTHONPATH": str(_SOURCE), "OMP_NUM_THREADS": "1", "python": sys.executable}
    shell = ["bash", "-c", f"set -o pipefail; {line}"]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$python -m sweeplora --help | true", 0, ""),
        pytest.param("$python -m sweeplora --cfg | head -1", 0, "", marks=pytest.mark.slow),
        ("$python -m sweeplora --help > /dev/full", 1, "standard output: No space left on device\n"),
        pytest.param("$python -m sweeplora --cfg >&-", 0, "", marks=pytest.mark.slow),
        pytest.param("$python -m sweeplora network.dimm=4 2> /dev/full", 2, "", marks=pytest.mark.slow),
        pytest.param("$python -m sweeplora network.dimm=4 2>&-", 2, "", marks=pytest.mark.slow),
        pytest.param("$python -m sweeplora --help <&- >&- 2>&-", 0, "", marks=pytest.mark.slow),
        ("PYTHONIOENCODING=ascii $python -m sweeplora --help > /dev/null", 0, ""),
    ],
)
def test_an_output_that_nobody_reads_changes_no_answer(line: str, code: int, said: str) -> None:
    assert _shell(line) == (code, said)

"""Completion: what can stand on a command line, and a real bash that completes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.commands import verbs
from sweeplora.config import catalog
from sweeplora.config.compose import compose, dotted
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import StudyRecord, TrialRecord, write_study, write_trial

_SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study of two trials, a single run, and a sweep and an optimizer of the user's own."""
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "runs" / "ranks"
    for number in (0, 11):
        run = RunDir.create(study / f"{number:03}-{number:012x}", "seed: 0\n")
        write_trial(run, TrialRecord("complete", "ranks", number))
    write_study(study, StudyRecord("ranks", "val/loss", 1.0, "finished"))
    write_trial(RunDir.create(tmp_path / "runs" / "single" / "cats", "seed: 0\n"), TrialRecord("complete"))
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text("defaults:\n  - override /optimizer: mine\n")
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "conf" / "optimizer" / "mine.yaml").write_text("defaults: [sgd, _self_]\nown_key: 3\nfast: true\n")
    return tmp_path


def completed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["completion", "--words", "--", *words]) == 0
    return [line for line in capsys.readouterr().out.split("\n") if line]


def test_the_first_word_is_a_verb_a_group_a_key_or_a_sweep(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    found = completed(capsys, "")
    assert set(verbs(here)) <= set(found)
    assert {f"{group}=" for group in catalog.groups(here)} <= set(found)
    assert {"+sweep=", "seed=", "sweep.", "train."} <= set(found)
    assert completed(capsys, "re") == ["report", "rerun", "restore", "reuse="]


def test_sweeps_and_choices_are_those_of_the_folder_and_the_shipped_ones(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    assert completed(capsys, "+sweep=") == [f"+sweep={name}" for name in catalog.sweeps(here)]
    assert completed(capsys, "+sweep=mi") == ["+sweep=mine"]
    found = completed(capsys, "network=locon", "optimizer=")
    assert found == [f"optimizer={name}" for name in catalog.groups(here)["optimizer"]] and "optimizer=mine" in found


@pytest.mark.parametrize(
    "words", [[], ["optimizer=prodigy"], ["network=dylora", "data=folder"], ["+sweep=network"], ["model=sdxl"]]
)
def test_keys_are_exactly_those_that_compose(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    config = compose(words).config
    for group in (*(g for g in catalog.groups(Path.cwd()) if "/" not in g), *(["sweep"] if not words else [])):
        keys = [key for key in dotted({group: config[group]}) if not key.rpartition(".")[2].startswith("_")]
        leaves = {f"{key}=" for key in keys if not any(other.startswith(f"{key}.") for other in keys)} - {f"{group}="}
        assert set(completed(capsys, *words, f"{group}.")) == leaves, group


def test_keys_follow_the_choice_that_a_word_or_the_sweeps_file_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "optimizer.own_key=" in completed(capsys, "optimizer=mine", "optimizer.")
    assert "optimizer.own_key=" in completed(capsys, "+sweep=mine", "optimizer.")
    assert "optimizer.own_key=" not in completed(capsys, "optimizer.")
    assert completed(capsys, "optimizer=mine", "optimizer.fast=") == ["optimizer.fast=true", "optimizer.fast=false"]


def test_verbs_that_take_a_run_or_a_study_complete_them(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("show", "report", "status", "list", "rerun", "diff", "restore", "continue", "clean", "sync"):
        assert {"ranks", "cats"} <= set(completed(capsys, verb, "")), verb
    assert completed(capsys, "show", "ranks/") == ["ranks/0", "ranks/11"]
    assert completed(capsys, "status", "--w") == ["--watch"]
    assert completed(capsys, "report", "--out", "") == []  # a file: the shell's own completion
    assert completed(capsys, "which", "ca") == []
    assert completed(capsys, "completion", "") == ["bash", "zsh", "fish"]
    assert "train.epochs=" in completed(capsys, "continue", "ranks/0", "train.ep")
    assert completed(capsys, "data", "") == ["check"] and "+sweep=mine" in completed(capsys, "run", "+sweep=m")


def test_a_repetition_is_completed_by_the_name_that_finds_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir.create(here / "runs/ranks/011.1-aaaaaaaaaaaa", "seed: 1\n")
    write_trial(run, TrialRecord("complete", "ranks", 11, replicate=1))
    assert completed(capsys, "show", "ranks/1") == ["ranks/11", "ranks/11.1"]
    assert main(["show", "ranks/11.1"]) == 0 and "ranks/11.1" in capsys.readouterr().out


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


def test_nothing_heavy_is_imported_for_a_completion(here: Path) -> None:
    code = "import sys; from sweeplora.__main__ import main; main(['completion', '--words', '--', 'optimizer.']); "
    code += "print(sorted({'torch', 'hydra', 'omegaconf', 'optuna', 'pydantic', 'numpy', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment(here)
    )
    assert done.stdout.splitlines()[-1] == "[]"


def _environment(here: Path) -> dict[str, str]:
    """A PATH with `sweeplora` and `python` on it."""
    bin_ = here / "bin"
    if not bin_.is_dir():
        bin_.mkdir()
        for name, words in (("sweeplora", "-m sweeplora"), ("python", "")):
            (bin_ / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (bin_ / name).chmod(0o755)
    return {**os.environ, "PYTHONPATH": str(_SOURCE), "PATH": f"{bin_}:{os.environ['PATH']}"}


_BASH = """
eval "$(python -m sweeplora completion bash)"
reply() {  # FUNCTION WORDS...: the last word is at the cursor
    local function=$1; shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "$function" "$1"
    echo "${COMPREPLY[*]}"
}
reply _sweeplora sweeplora +sweep = mi
reply _sweeplora sweeplora optimizer =
reply _sweeplora sweeplora optimizer = mine optimizer.own
reply _sweeplora sweeplora +sweep=mi
reply _sweeplora sweeplora show ranks/1
reply _sweeplora_python python -m sweeplora stat
reply _sweeplora_python python -m other stat
reply _sweeplora /nowhere/sweeplora stat
complete -p sweeplora python
"""


_ZSH = """
eval "$(python -m sweeplora completion zsh)"
compadd() {  # print what is added
    while [[ $1 == -* ]]; do
        [[ $1 == -S ]] && shift
        shift
    done
    (( $# )) && print -r -- "$@"
}
_files() { print files }
words=(sweeplora +sweep=mi) CURRENT=2; _sweeplora
words=(sweeplora optimizer=mine optimizer.own) CURRENT=3; _sweeplora
words=(python -m sweeplora stat) CURRENT=4; _sweeplora_python
words=(sweeplora which ca) CURRENT=3; _sweeplora
words=(/nowhere/sweeplora show ranks/1) CURRENT=3; _sweeplora
"""
_FISH = """
python -m sweeplora completion fish | source
complete -C 'sweeplora +sweep=mi'
complete -C 'sweeplora optimizer=mine optimizer.own'
complete -C 'python -m sweeplora stat'
complete -C 'sweeplora which bi'
complete -C 'sweeplora show ranks/1'
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_a_real_zsh_completes(here: Path) -> None:
    done = subprocess.run(["zsh", "-f", "-c", _ZSH], capture_output=True, text=True, check=True, env=_environment(here))
    assert done.stdout.split("\n")[:5] == ["+sweep=mine", "optimizer.own_key=", "status", "files", "ranks/11"]
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_a_real_fish_completes(here: Path) -> None:
    done = subprocess.run(["fish", "-c", _FISH], capture_output=True, text=True, check=True, env=_environment(here))
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert found == ["+sweep=mine", "optimizer.own_key=", "status", "bin/", "ranks/11"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_a_real_bash_completes_words_that_it_takes_apart_at_equal_signs(here: Path) -> None:
    done = subprocess.run(["bash", "-c", _BASH], capture_output=True, text=True, check=True, env=_environment(here))
    assert done.stderr == ""
    lines = done.stdout.split("\n")
    assert lines[0] == "mine"
    assert lines[1].split() == catalog.groups(here)["optimizer"]
    assert lines[2] == "optimizer.own_key="
    assert lines[3] == "+sweep=mine"
    assert lines[4] == "ranks/11"
    assert lines[5] == "status" and lines[6] == "" and lines[7] == "status"
    assert lines[8] == "complete -o bashdefault -o default -F _sweeplora sweeplora"
    assert lines[9].endswith("-F _sweeplora_python python")

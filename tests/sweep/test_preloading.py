"""The imports of a training go on while its configuration is checked, and nothing of them stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment
from sweeplora.sweep.study import run
from tests.sweep.commands import environment, living_in, until
from tests.sweep.drive import check as sign

LASTING = "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(600)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a training whose import takes for ever."""
    monkeypatch.chdir(tmp_path)
    for key, value in environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    (tmp_path / "lasting.py").write_text(LASTING)
    return tmp_path


def refusing(folder: Path) -> Callable[[Configuration], Experiment]:
    """A check that waits until the training is being imported, and then refuses."""

    def check(configuration: Configuration) -> Experiment:
        until((folder / "importing").exists)
        raise UserError("seed", 0, "the check has come to its end")

    return check


@pytest.mark.parametrize("words", [[], ["network.dim=choice(2,4)", "search=grid"]], ids=["single run", "study"])
def test_the_imports_begin_before_the_check_and_end_with_its_refusal(folder: Path, words: list[str]) -> None:
    with pytest.raises(UserError, match="come to its end"):
        run(["tracking=none", *words], compose, refusing(folder), "lasting")
    until(lambda: living_in(folder) == [os.getpid()])
    assert not (folder / "runs").exists()


def test_a_single_run_is_trained_by_the_process_that_imported_for_it(folder: Path) -> None:
    code = "import os, pathlib\nfrom standin import main\npathlib.Path(str(os.getpid())).touch()\n"
    (folder / "marked.py").write_text(code)
    assert run(["tracking=none", "name=a"], compose, sign, "marked") == 0
    (marked,) = (path.name for path in folder.iterdir() if path.name.isdigit())
    assert f'"pid": {marked}' in (folder / "runs" / "single" / "a" / "trial.json").read_text()
    assert "rank" in (folder / "runs" / "single" / "a" / "log.txt").read_text()


def test_words_that_do_not_compose_start_no_process(folder: Path) -> None:
    with pytest.raises(UserError, match="no such key"):
        run(["tracking=none", "network.dimm=3"], compose, sign, "lasting")
    assert not (folder / "importing").exists()

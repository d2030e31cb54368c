"""A sampler or pruner that cannot drive a study is refused before anything is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.rehearsal import learns_late, rehearse

ROOT = Path(__file__).resolve().parents[3]
SPACE = parse_space({"network.dim": "choice(4, 8)", "optimizer.lr": "tag(log, interval(1e-5, 1e-3))"})


def _config(*words: str) -> dict[str, Any]:
    return compose(list(words)).config


def _sampler(name: str) -> dict[str, Any]:
    return {"search": {"_target_": f"optuna.samplers.{name}"}, "pruner": _config()["pruner"]}


@pytest.mark.parametrize(("search", "pruner"), [("tpe", "none"), ("tpe", "median"), ("nsga2", "none"), ("qmc", "none")])
def test_the_shipped_searches_and_pruners_drive_a_study(search: str, pruner: str) -> None:
    rehearse(_config(f"search={search}", f"pruner={pruner}"), SPACE, 1)


def test_several_objectives_are_told_together() -> None:
    rehearse(_config("search=tpe"), SPACE, 2)


def test_what_a_pruner_cannot_decide_with_is_said_of_the_pruner() -> None:
    with pytest.raises(UserError, match=r"HyperbandPruner: cannot decide with these values") as refused:
        rehearse(_config("search=random", "pruner=hyperband", "pruner.reduction_factor=1"), SPACE, 1)
    assert refused.value.key == "pruner"


def test_a_sampler_that_ends_a_study_itself_is_refused() -> None:
    with pytest.raises(UserError, match=r"BruteForceSampler: ends a study by itself.*use search=brute"):
        rehearse(_sampler("BruteForceSampler"), SPACE, 1)


def test_a_sampler_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.samplers import CmaEsSampler

    def without_its_package(*_: object) -> None:
        raise ImportError("Tried to import 'cmaes' but failed.")

    monkeypatch.setattr(CmaEsSampler, "sample_relative", without_its_package)
    with pytest.raises(UserError, match="CmaEsSampler: cannot drive this study: Tried to import 'cmaes'"):
        rehearse(_sampler("CmaEsSampler"), SPACE, 1)


def test_a_slow_search_is_rehearsed_with_what_it_draws_at_random_and_later_with_its_own_proposals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from optuna.samplers import GPSampler

    def without_its_package(*_: object) -> None:
        raise ImportError("No module named 'torch'")

    monkeypatch.setattr(GPSampler, "_sample_relative_impl", without_its_package)
    config = _config("search=gp")
    assert learns_late(config["search"])
    rehearse(config, SPACE, 1, own_proposals=False)
    with pytest.raises(UserError, match="GPSampler: cannot drive this study: No module named 'torch'"):
        rehearse(config, SPACE, 1)


@pytest.mark.parametrize(
    ("words", "late"), [(("search=tpe",), False), (("search=gp", "search.n_startup_trials=0"), False)]
)
def test_a_search_whose_first_trial_is_its_own_proposal_is_rehearsed_before_it(
    words: Sequence[str], late: bool
) -> None:
    assert learns_late(_config(*words)["search"]) == late


def test_a_study_by_gaussian_processes_begins_without_torch(tmp_path: Path) -> None:
    words = ["search=gp", "sweep.name=s", "sweep.trials=2", "network.dim=range(1,9)"]
    code = (
        "import sys; from tests.sweep import standin; from tests.sweep.inline import study\n"
        "from pathlib import Path; began = []\n"
        "def train(argv): began.append('torch' in sys.modules); return trained(argv)\n"
        "trained, standin.main = standin.main, train\n"
        f"code, said = study(Path({str(tmp_path)!r}), *{words!r}); assert code == 0, said\n"
        "print(began, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[-2] == "[False, True] True", done.stdout

"""A sampler or pruner that cannot drive a study is refused before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.rehearsal import rehearse

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

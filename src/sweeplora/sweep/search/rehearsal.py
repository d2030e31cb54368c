"""A few trials that train nothing, to refuse a sampler or pruner that cannot drive a study before it begins."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any, Literal

from sweeplora.errors import UserError
from sweeplora.sweep.search.facts import facts_of
from sweeplora.sweep.search.proposals import propose
from sweeplora.sweep.search.rules import Rules
from sweeplora.sweep.search.searchers import build_pruner, build_search, is_grid
from sweeplora.sweep.search.space import Space

_MOST_DRAWN = 16
_OWN_PROPOSALS = 2


def learns_late(search: Mapping[str, Any]) -> bool:
    """Whether a search is slow to propose by itself, and draws its first trials at random, which need not wait."""
    return facts_of(search).slow and _drawn_at_random(search) > 0


def rehearse(
    config: Mapping[str, Any],
    space: Space,
    num_objectives: int,
    rules: Rules | None = None,
    own_proposals: bool = True,
) -> None:
    """Ask, report and tell in memory until the sampler proposes by itself; raises UserError if that fails.

    `config`: with its groups `search` and `pruner`. Without `own_proposals` it ends with what is drawn at random.
    """
    import optuna

    target = config["search"]["_target_"]
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_grid(config["search"]):
                sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=0)  # its points are no matter
            else:
                sampler = build_search(config["search"], space, 0, rules).sampler
            _refuse_one_that_stops(target, type(sampler))
            directions: list[Literal["minimize"]] = ["minimize"] * num_objectives
            study = optuna.create_study(directions=directions, sampler=sampler, pruner=build_pruner(config["pruner"]))
            for number in range(_drawn_at_random(config["search"]) + (_OWN_PROPOSALS if own_proposals else 0)):
                _play(study, space, number, num_objectives, config["pruner"]["_target_"])
    except UserError:
        raise
    except Exception as error:  # a third-party sampler may raise anything
        raise UserError("search", target, f"cannot drive this study: {_reason(error)}") from error
    finally:
        optuna.logging.set_verbosity(before)


def _play(study: Any, space: Space, number: int, num_objectives: int, pruner: str) -> None:
    trial = study.ask()
    propose(space, trial)
    if num_objectives == 1:
        trial.report(1.0 / (1 + number), 1)
        try:
            trial.should_prune()
        except Exception as error:  # Optuna's check some of their arguments only when they first decide
            raise UserError("pruner", pruner, f"cannot decide with these values: {_reason(error)}") from error
    study.tell(trial, [1.0 / (1 + number)] * num_objectives)


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _drawn_at_random(search: Mapping[str, Any]) -> int:
    """The trials that a sampler draws at random before it proposes by itself, those that are rehearsed."""
    startup = search.get("n_startup_trials")
    return min(startup if isinstance(startup, int) else 10, _MOST_DRAWN)


def _refuse_one_that_stops(target: str, sampler: type) -> None:
    """Refuse a sampler that stops the study itself, as samplers do that know when all points were visited."""
    try:
        source = inspect.getsource(sampler)
    except (OSError, TypeError):
        return
    if "study.stop()" in source:
        mend = "ends a study by itself, which a sweep does not follow; use search=brute or search=grid"
        raise UserError("search", target, mend)

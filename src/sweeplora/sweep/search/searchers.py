"""Samplers, which propose values, and pruners, which stop trials: Optuna's by name, and the grid."""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
from hydra.utils import get_object
from numpy.typing import NDArray

from sweeplora.errors import UserError
from sweeplora.randomness import seed_of
from sweeplora.rundir.record import Scalar
from sweeplora.sweep.search.facts import facts_of
from sweeplora.sweep.search.proposals import columns, points, size
from sweeplora.sweep.search.rules import Rules
from sweeplora.sweep.search.rungs import rungs_of
from sweeplora.sweep.search.space import Space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Grid:
    """Every combination once; `seed` fixes the order."""

    seed: int


_LARGEST_GRID = 100_000


class Search(NamedTuple):
    """A sampler, and for a grid the points it must visit (by Optuna's parameter names)."""

    sampler: BaseSampler
    grid: list[dict[str, Scalar]] | None


def grid(seed: int) -> Grid:
    """Target of conf/search/grid.yaml."""
    return Grid(seed)


def brute(seed: int) -> Any:
    """Target of conf/search/brute.yaml: Optuna's brute force, which leaves it to the study when to end."""
    from optuna.samplers import BruteForceSampler

    class BruteForce(BruteForceSampler):
        def after_trial(self, *_: object) -> None:
            """Nothing: Optuna's stops the study once all points were visited, which works inside `optimize` only."""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental
        return BruteForce(seed=seed)


def grid_points(space: Space, seed: int, rules: Rules | None = None) -> list[dict[str, Scalar]]:
    """Every allowed combination of choices, in an order shuffled by `seed`. Raises UserError for intervals."""
    _refuse_too_large(space)
    listed, kept = points(space), _kept(rules).ravel() if rules else None
    order = list(range(len(listed)))
    random.Random(seed_of(seed, "grid")).shuffle(order)
    return [listed[place] for place in order if kept is None or kept[place]]


def _refuse_too_large(space: Space) -> None:
    if size(space) > _LARGEST_GRID:
        raise UserError("search", "grid", f"the grid has {size(space)} points; use search=tpe, or fewer values")


@functools.lru_cache(maxsize=1)
def _kept(rules: Rules) -> NDArray[numpy.bool_]:
    """Which points of a space are allowed; kept, since a study first counts them."""
    return rules.kept(columns(rules.space))


def build_search(config: Mapping[str, Any], space: Space, existing: int, rules: Rules | None = None) -> Search:
    """The sampler that a config names, within the rules.

    The seed is mixed with the number of existing trials: restarted with the same seed in a continued study, a sampler
    would repeat its earlier proposals. One that keeps its place in the study itself says `reseed: false`.
    """
    target = get_object(config["_target_"])
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    if target is grid:
        from optuna.samplers import RandomSampler

        return Search(RandomSampler(seed=0), grid_points(space, arguments["seed"], rules))
    if isinstance(arguments.get("seed"), int) and facts_of(config).reseed:
        arguments["seed"] = seed_of(arguments["seed"], "search", existing) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # samplers and arguments that Optuna calls experimental
        sampler: BaseSampler = _build("search", target, arguments)
    if not rules:
        return Search(sampler, None)
    from sweeplora.sweep.search.constrained import Constrained

    return Search(Constrained(sampler, space, rules, seed_of(existing, "constraints")), None)


def is_grid(config: Mapping[str, Any]) -> bool:
    """Whether a search config is the grid, whose points are listed ahead."""
    return str(config["_target_"]) == f"{__name__}.{grid.__name__}"


def num_points(config: Mapping[str, Any], space: Space, rules: Rules) -> int | None:
    """How many points a search has to visit; None for one that could go on for ever."""
    if is_grid(config):
        _refuse_too_large(space)
        return int(_kept(rules).sum()) if rules else size(space)
    return size(space) if facts_of(config).values == "finite" else None


def build_pruner(config: Mapping[str, Any]) -> BasePruner:
    """The pruner that a config names; with rungs it is the study that stops trials, and none of Optuna's."""
    if rungs_of(config) is not None:
        from optuna.pruners import NopPruner

        return NopPruner()
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    pruner: BasePruner = _build("pruner", get_object(config["_target_"]), arguments)
    return pruner


def _build(group: str, target: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Build an Optuna object; its argument errors become UserErrors."""
    try:
        return target(**arguments)
    except (ValueError, TypeError) as error:
        raise UserError(group, target.__name__, f"does not take these values: {error}") from error


def prunes(config: Mapping[str, Any]) -> bool:
    """Whether a pruner config can stop a trial."""
    return str(config["_target_"]) != "optuna.pruners.NopPruner"

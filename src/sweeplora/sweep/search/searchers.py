"""Samplers, which propose values, and pruners, which stop trials: Optuna's by name, and the grid."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.utils import get_object

from sweeplora.errors import UserError
from sweeplora.randomness import seed_of
from sweeplora.rundir.record import Scalar
from sweeplora.sweep.search.proposals import points, size
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


def grid_points(space: Space, seed: int) -> list[dict[str, Scalar]]:
    """Every combination of a space of choices, in an order shuffled by `seed`. Raises UserError for intervals."""
    if size(space) > _LARGEST_GRID:
        raise UserError("search", "grid", f"the grid has {size(space)} points; use search=tpe, or fewer values")
    shuffled = points(space)
    random.Random(seed_of(seed, "grid")).shuffle(shuffled)
    return shuffled


def build_search(config: Mapping[str, Any], space: Space, existing: int) -> Search:
    """The sampler that a config names.

    The seed is mixed with the number of existing trials: restarted with the same seed in a continued study, a sampler
    would repeat its earlier proposals.
    """
    target = get_object(config["_target_"])
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    if target is grid:
        from optuna.samplers import RandomSampler

        return Search(RandomSampler(seed=0), grid_points(space, arguments["seed"]))
    if isinstance(arguments.get("seed"), int):
        arguments["seed"] = seed_of(arguments["seed"], "search", existing) % 2**32
    return Search(_build("search", target, arguments), None)


def is_grid(config: Mapping[str, Any]) -> bool:
    """Whether a search config is the grid, whose size determines the number of trials."""
    return str(config["_target_"]) == f"{__name__}.{grid.__name__}"


def build_pruner(config: Mapping[str, Any]) -> BasePruner:
    """The pruner that a config names."""
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

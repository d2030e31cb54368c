"""What a search says of itself in its YAML file, and the questions that it cannot answer, refused by name."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from sweeplora.errors import UserError
from sweeplora.sweep.search.space import Choice, Dimension, Interval, Space

KEY = "_facts_"


@dataclass(frozen=True)
class Facts:
    """`_facts_` in a file of conf/search/; a search of your own without them is taken to be able to do anything."""

    values: Literal["any", "numbers", "finite"] = "any"
    """The dimensions that it proposes values for: `numbers` excludes choices, `finite` excludes intervals."""
    branches: bool = True
    """Whether keys may exist under a choice only."""
    several_objectives: bool = True
    constraints: bool = True
    """Whether `sweep.constraints` can be kept by drawing again."""
    learns: bool = True
    """Whether earlier trials change what it proposes."""
    reseed: bool = True
    """Whether a continued study needs another seed, so that proposals do not repeat."""
    widens: bool = True
    """Whether a range may grow while it searches (`sweep.extend`)."""
    slow: bool = False
    """Whether its first proposal of its own takes seconds (imports, a fit): then that is rehearsed while trials run."""
    package: str | None = None
    """What it imports beyond Optuna."""


def facts_of(search: Mapping[str, Any]) -> Facts:
    """The facts in a search's configuration. Raises UserError for unknown names and wrong values."""
    written = search.get(KEY) or {}
    if not isinstance(written, Mapping):
        raise UserError(f"search.{KEY}", written, "give a mapping, as conf/search/cmaes.yaml has")
    types = get_type_hints(Facts)
    known = [field.name for field in dataclasses.fields(Facts)]
    for name, value in written.items():
        if name not in known:
            raise UserError(f"search.{KEY}.{name}", value, f"no such fact; there are: {', '.join(known)}")
        allowed = getattr(types[name], "__args__", ())
        if types[name] is bool and not isinstance(value, bool):
            raise UserError(f"search.{KEY}.{name}", value, "give true or false")
        if name == "values" and value not in allowed:
            raise UserError(f"search.{KEY}.values", value, f"give one of {', '.join(allowed)}")
    return Facts(**written)


def refuse_question(search: Mapping[str, Any], space: Space, num_objectives: int, constraints: bool) -> None:
    """Raise UserError if this search cannot answer a question of this kind."""
    facts, name = facts_of(search), str(search["_target_"]).rpartition(".")[2]
    if facts.package is not None and importlib.util.find_spec(facts.package) is None:
        mend = f"needs the package {facts.package}, which is not installed; pip install {facts.package}"
        raise UserError("search", name, mend)
    if num_objectives > 1 and not facts.several_objectives:
        raise UserError("search", name, "takes one objective; use search=nsga2 or search=tpe for several")
    if space.branches and not facts.branches:
        (key, text), _ = next(iter(space.branches.items()))
        mend = f"takes no keys that exist only under a choice, as under {key}={text}; use search=tpe"
        raise UserError("search", name, mend)
    if constraints and not facts.constraints:
        raise UserError("search", name, "takes no sweep.constraints; use search=grid or search=tpe")
    for key, dimension in _dimensions(space):
        if facts.values == "finite" and isinstance(dimension, Interval):
            raise UserError("search", name, f"{key} is {dimension}: a {name} needs choice(…) or range(…)")
        if facts.values == "numbers" and isinstance(dimension, Choice):
            mend = f"{key} is {dimension}: it needs interval(…) or range(…); use search=tpe for choices"
            raise UserError("search", name, mend)


def notices(search: Mapping[str, Any], trials: int) -> list[str]:
    """What a search of so many trials should be told about."""
    for key in ("n_startup_trials", "population_size"):
        first = search.get(key)
        if isinstance(first, int) and trials <= first:
            those = "the one trial is" if trials == 1 else f"all {trials} trials are"
            return [f"search.{key}={first}: {those} drawn at random, before the search learns anything"]
    return []


def _dimensions(space: Space) -> Iterator[tuple[str, Dimension]]:
    yield from space.dimensions.items()
    for branch in space.branches.values():
        yield from _dimensions(branch)

"""What a study asks: its space, objectives and size, read from a composed configuration and the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment
from sweeplora.rundir.signature import is_unsigned
from sweeplora.sweep.search.grammar import on_command_line, parse_space
from sweeplora.sweep.search.proposals import every_choice
from sweeplora.sweep.search.searchers import grid_points, is_grid, prunes
from sweeplora.sweep.search.space import Space, all_keys

_RESERVED = ("single", "cache", "artifacts", "workspaces")


class Composer:
    """Composes and checks overrides on top of the command line's, each combination once."""

    def __init__(
        self,
        base: Sequence[str],
        compose: Callable[[Sequence[str]], Configuration],
        check: Callable[[Configuration], Experiment],
    ) -> None:
        self.base = tuple(base)
        self._compose = compose
        self._check = check
        self._known: dict[tuple[str, ...], Experiment] = {}

    def experiment(self, overrides: Sequence[str]) -> Experiment:
        """The experiment with these overrides. Raises UserError for what is wrong with it."""
        wanted = tuple(overrides)
        if wanted not in self._known:
            self._known[wanted] = self._check(self._compose([*self.base, *wanted]))
        return self._known[wanted]


@dataclass(frozen=True)
class Question:
    """A study before it runs."""

    name: str
    space: Space
    objectives: tuple[str, ...]
    trials: int
    configuration: Configuration
    identity: Mapping[str, Any]
    notices: tuple[str, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that every trial starts from."""
        return self.configuration.config

    def differences(self, asked: Mapping[str, Any]) -> list[str]:
        """What is not as it was when the study of this name began; empty when it is the same question."""
        changed = [key for key in ("space", "objective", "search") if asked[key] != self.identity[key]]
        if asked["signature"] != self.identity["signature"]:
            before, after = dict(_dotted(asked["config"])), dict(_dotted(self.identity["config"]))
            keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
            changed += keys or ["the contents of model, data or prompts, or the program's own version"]
        return changed


def read_question(configuration: Configuration, composer: Composer, swept: Space) -> Question:
    """Read the study out of a configuration and try every choice of it, before anything is started.

    Raises UserError for the first thing wrong in the space, or in a configuration that it can propose.
    """
    sweep = configuration.config["sweep"]
    space = on_command_line(parse_space(sweep["space"] or {}), composer.base, swept)
    if not space:
        raise UserError("sweep.space", "{}", "nothing is left to search; name keys, e.g. 'network.dim=choice(4,8)'")
    for key in all_keys(space):
        if is_unsigned(key):
            mend = "changes how a trial runs, not what it learns; give it one value outside of the space"
            raise UserError(f"sweep.space.{key}", "searched", mend)
    proposed = every_choice(space)
    covers = [composer.experiment(overrides) for overrides in proposed]
    objectives = _objectives(sweep["objective"])
    blind = next((words for words, one in zip(proposed, covers, strict=True) if not one.validates), None)
    if blind is not None and any(objective.startswith("val/") for objective in objectives):
        where = f" with {' '.join(blind)}" if blind else ""
        raise UserError("sweep.objective", sweep["objective"], f"no image is held out{where}; give data.val_split=0.1")
    if len(objectives) > 1 and prunes(configuration.config["pruner"]):
        raise UserError("pruner", "on", "several objectives cannot be pruned; give pruner=none or one objective")
    search = configuration.config["search"]
    signed = {key: value for key, value in covers[0].config.items() if not is_unsigned(key)}
    identity = {
        "space": space.described(),
        "objective": list(objectives),
        "search": [search["_target_"], search["seed"]] if is_grid(search) else search["_target_"],
        "signature": covers[0].signature,
        "config": signed,
    }
    trials = _trials(sweep["trials"], search, space)
    notices = tuple(dict.fromkeys(line for one in covers for line in one.notices))
    return Question(_name(sweep["name"], space), space, objectives, trials, configuration, identity, notices)


def _objectives(written: object) -> tuple[str, ...]:
    named = [written] if isinstance(written, str) else written
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise UserError("sweep.objective", written, "give a metric, e.g. val/loss, or a list of metrics")
    return tuple(named)


def _trials(written: object, search: Mapping[str, Any], space: Space) -> int:
    size = len(grid_points(space, search["seed"])) if is_grid(search) else None
    if written is None and size is not None:
        return size
    if isinstance(written, bool) or not isinstance(written, int) or written < 1:
        raise UserError("sweep.trials", written, "give a number of trials, e.g. sweep.trials=20, or search=grid")
    if size is not None and written > size:
        raise UserError("sweep.trials", written, f"the grid has {size} points; give at most that")
    return written


def _name(written: object, space: Space) -> str:
    lasts = dict.fromkeys(key.rpartition(".")[2] for key in all_keys(space))
    name = "_".join(lasts) if written is None else str(written)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in _RESERVED or name.endswith(".db"):
        raise UserError("sweep.name", name, "give a folder's name of letters, digits, '-', '_' and '.'")
    return name


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

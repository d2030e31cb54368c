"""What a night trains: its configurations, those that are left out here, and the seeds."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Experiment
from sweeplora.launch.gpus import NoAnswer, visible_gpus
from sweeplora.nightly.settings import Nightly
from sweeplora.overrides import parse
from sweeplora.sweep.question import Composer

FEWEST_FOR_A_BASELINE = 10
_SHIPPED = ("model", "data")
"""Groups whose paths a configuration may give itself, for something that ships with the package."""

_PLACES = ("path", "dir", "val_dir", "mask_dir", "reg_dir", "subsets")


@dataclass(frozen=True)
class Configured:
    """One configuration of a night: its words on top of the command line's, and its experiment at the first seed."""

    name: str
    words: tuple[str, ...]
    experiment: Experiment


class LeftOut(NamedTuple):
    """A configuration that is not trained here, and why."""

    name: str
    reason: str


class Training(NamedTuple):
    """One training of a night. `again`: the canary's, a second time, for the spread of A/A at one seed."""

    number: int
    configuration: str
    seed: int
    words: tuple[str, ...]
    again: bool = False


@dataclass(frozen=True)
class NightPlan:
    """All that a night may train; the first seed's losses are the canary."""

    configured: tuple[Configured, ...]
    left_out: tuple[LeftOut, ...]
    first_seed: int
    most_seeds: int

    def trainings(self, places: Sequence[int]) -> list[Training]:
        """The trainings with these seeds (0 is the first one), seed by seed: every canary comes before the rest.

        A training's number depends on its configuration and seed alone, so that a continued night finds it again.
        """
        return [self._training(index, place, False) for place in places for index in range(len(self.configured))]

    def again(self) -> list[Training]:
        """The canary's seed a second time, for every configuration."""
        return [self._training(index, self.most_seeds, True) for index in range(len(self.configured))]

    def training(self, name: str, place: int) -> Training:
        """That of one configuration and seed."""
        index = next(index for index, one in enumerate(self.configured) if one.name == name)
        return self._training(index, place, False)

    def _training(self, index: int, place: int, again: bool) -> Training:
        one = self.configured[index]
        seed = self.first_seed + (0 if again else place)
        number = place * len(self.configured) + index
        return Training(number, one.name, seed, (*one.words, f"seed={seed}"), again)


def plan_night(settings: Nightly, composer: Composer, first_seed: int) -> NightPlan:
    """Compose and check every configuration. Raises UserError with everything that is wrong in them."""
    problems = Problems()
    left_out = dict(_left_out(settings, composer.base))
    configured = []
    for name, words in settings.configurations.items():
        if name in left_out:
            continue
        experiment = problems.attempt((), functools.partial(_checked, composer, name, words))
        if experiment is not None:
            configured.append(Configured(name, tuple(words), experiment))
    if not configured:
        problems.add(
            UserError("nightly.configurations", ", ".join(left_out), "all are left out; name one that can run")
        )
    problems.refuse()
    reasons = tuple(LeftOut(*pair) for pair in left_out.items())
    return NightPlan(tuple(configured), reasons, first_seed, settings.most_seeds)


def _checked(composer: Composer, name: str, words: Sequence[str]) -> Experiment:
    for word in words:
        if parse(word).key_or_group == "seed":
            raise UserError(f"nightly.configurations.{name}", word, "the night gives the seeds; leave it out")
    experiment = composer.experiment(words)
    if not experiment.validates:
        raise UserError(f"nightly.configurations.{name}", "no image is held out", "give data.val_split=0.1")
    return experiment


def _left_out(settings: Nightly, base: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Configuration -> why it is not trained: it brings its own model or data, or needs what this machine lacks."""
    given = {group for group in _SHIPPED if any(_places(word, group) for word in base)}
    has = _machine()
    for name, words in settings.configurations.items():
        own = [group for group in _SHIPPED if any(_places(word, group) for word in words)]
        clash = next((group for group in own if group in given), None)
        lacking = next((what for what, count in settings.needs.get(name, {}).items() if has[what] < count), None)
        if clash is not None:
            yield name, f"it brings its own {clash}, and the command line names one"
        elif lacking is not None:
            yield name, f"it needs {lacking}: {settings.needs[name][lacking]}; this machine has {has[lacking]}"


def _places(word: str, group: str) -> bool:
    """Whether a word says which model or data there is: chooses the group, or gives a path in it."""
    key = parse(word).key_or_group
    return key == group or key in {f"{group}.{place}" for place in _PLACES}


def _machine() -> Mapping[str, int]:
    """What this machine has of the things that a configuration can need."""
    try:
        gpus = len(visible_gpus())
    except NoAnswer:
        gpus = 0
    return {"gpus": gpus, "processes": gpus or len(os.sched_getaffinity(0))}

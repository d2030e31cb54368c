"""A sampler within constraints: what breaks one is drawn again before a trial is made of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeplora.errors import UserError
from sweeplora.rundir.record import Scalar
from sweeplora.sweep.search.proposals import ask_value, propose, walk
from sweeplora.sweep.search.rules import MOST_DRAWS, RandomAsker, Rules
from sweeplora.sweep.search.space import Space

_DRAWS = 32
"""Proposals of the sampler itself before a point is drawn at random."""


class Constrained(BaseSampler):
    """Another sampler whose proposals are drawn again until they keep the rules.

    A whole point is drawn at once, as Optuna's relative sampling: keys that the inner sampler draws one by one (its
    first trials, keys of branches) are drawn by it too, but before Optuna asks. A sampler that cannot get out of what
    is forbidden (its proposal is always the same) is helped by a point drawn at random.
    """

    def __init__(self, inner: BaseSampler, space: Space, rules: Rules, seed: int) -> None:
        self._inner = inner
        self._space = space
        self._rules = rules
        self._random = random.Random(seed)
        self._distributions = distributions(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every dimension of the space, those of branches included."""
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """An allowed point. Raises UserError if none is found."""
        fixed: Mapping[str, Scalar] = trial.system_attrs.get("fixed_params", {})
        own = self._inner.infer_relative_search_space(study, trial)
        for _ in range(_DRAWS):
            relative = {**self._inner.sample_relative(study, trial, own), **fixed}
            asker = _InnerAsker(self._inner, study, trial, relative)
            if self._rules.allowed(propose(self._space, asker)):
                return asker.values
        for _ in range(MOST_DRAWS):
            drawn = RandomAsker(self._random, fixed)
            if self._rules.allowed(propose(self._space, drawn)):
                return drawn.values
        mend = f"no allowed point among {MOST_DRAWS:,} drawn at random; widen the space or drop one"
        raise UserError("sweep.constraints", "; ".join(self._rules.texts), mend)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the inner sampler does."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the inner sampler does."""
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the inner sampler does."""
        self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """As the inner sampler does."""
        self._inner.reseed_rng()


class _InnerAsker:
    """Values of a relative sample, and for the others the inner sampler's independent draws."""

    def __init__(self, inner: BaseSampler, study: Study, trial: FrozenTrial, relative: Mapping[str, Any]) -> None:
        self._inner, self._study, self._trial = inner, study, trial
        self._relative = relative
        self.values: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """One of the choices."""
        value: Scalar = self._draw(name, CategoricalDistribution(tuple(choices)))
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number."""
        return int(self._draw(name, _integers(low, high, step, log)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""
        return float(self._draw(name, FloatDistribution(low, high, log=log, step=step)))

    def _draw(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._relative:
            self.values[name] = self._relative[name]
        else:
            self.values[name] = self._inner.sample_independent(self._study, self._trial, name, distribution)
        return self.values[name]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's distribution of every dimension by parameter name, as `propose` asks for it."""
    listing = _Listing()
    for name, dimension in walk(space):
        ask_value(dimension, listing, name)
    return listing.found


class _Listing:
    """Notes what it is asked for, and answers with the first value."""

    def __init__(self) -> None:
        self.found: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """The first choice."""
        self.found[name] = CategoricalDistribution(tuple(choices))
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The lower end."""
        self.found[name] = _integers(low, high, step, log)
        return low

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The lower end."""
        self.found[name] = FloatDistribution(low, high, log=log, step=step)
        return low


def _integers(low: int, high: int, step: int, log: bool) -> IntDistribution:
    return IntDistribution(low, high, log=log, step=step)

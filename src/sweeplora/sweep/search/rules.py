"""The constraints of a study over one proposal: values come from the proposal, others from the configuration."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any

import numpy
from numpy.typing import NDArray

from sweeplora.errors import UserError
from sweeplora.overrides import parse
from sweeplora.rundir.record import Scalar
from sweeplora.sweep.search.constraints import Constraint, NotSet, parse_constraint
from sweeplora.sweep.search.proposals import Part, Proposal, every_choice, is_number, propose
from sweeplora.sweep.search.space import Space, all_keys

MOST_DRAWS = 10_000
_EXAMPLE = "e.g. sweep.constraints=['network.alpha <= network.dim']"
Configured = Callable[[Sequence[str]], Mapping[str, Any]]
"""The configuration under proposed choices of groups."""


class Rules:
    """What every proposal has to keep; without constraints everything is allowed."""

    def __init__(self, constraints: Sequence[Constraint], space: Space, configured: Configured) -> None:
        self.space = space
        self._constraints = tuple(constraints)
        self._searched = frozenset(all_keys(space))
        self._configured = configured
        self._known: dict[tuple[str, ...], Mapping[str, Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._constraints)

    @property
    def texts(self) -> tuple[str, ...]:
        """The constraints as written."""
        return tuple(one.text for one in self._constraints)

    def excesses(self, proposal: Proposal) -> dict[str, float]:
        """By how much each constraint is broken: text -> 0 or less where it holds."""
        values = dict(_value(word, proposal.params) for word in proposal.overrides)

        def value_of(key: str) -> Any:
            return values[key] if key in values else self._configured_value(key, proposal.overrides)

        return {one.text: one.excess(value_of) for one in self._constraints}

    def allowed(self, proposal: Proposal) -> bool:
        """Whether a proposal keeps all constraints."""
        return not self._constraints or max(self.excesses(proposal).values()) <= 0

    def kept(self, columns: Sequence[Sequence[Part]]) -> NDArray[numpy.bool_]:
        """Which points of a space keep all constraints, one axis a dimension.

        A constraint is computed once for every combination of the dimensions that it depends on.
        """
        found = numpy.ones([len(column) for column in columns], dtype=bool)
        for one in self._constraints:
            deciding = [any(_decides(one, part) for part in column) for column in columns]
            chosen = [column for column, decides in zip(columns, deciding, strict=True) if decides]
            holds = self._holds(one, chosen)
            shape = [len(column) if decides else 1 for column, decides in zip(columns, deciding, strict=True)]
            found &= numpy.array(holds, dtype=bool).reshape(shape)
        return found

    def _holds(self, one: Constraint, columns: Sequence[Sequence[Part]]) -> list[bool]:
        """Whether a constraint holds, for every combination of these columns."""
        words = [[part.proposal.overrides for part in column] for column in columns]
        values = [
            [dict(_value(word, part.proposal.params) for word in part.proposal.overrides) for part in column]
            for column in columns
        ]
        found = []
        for known, chosen in zip(product(*values), product(*words), strict=True):

            def value_of(key: str, known: Any = known, chosen: Any = chosen) -> Any:
                for part in reversed(known):
                    if key in part:
                        return part[key]
                return self._configured_value(key, tuple(chain.from_iterable(chosen)))

            found.append(one.excess(value_of) <= 0)
        return found

    def broken(self, proposal: Proposal) -> str | None:
        """The first constraint that a proposal breaks."""
        return next((text for text, excess in self.excesses(proposal).items() if excess > 0), None)

    def _configured_value(self, key: str, words: Sequence[str]) -> Any:
        found, value = lookup(self._configuration(words), key)
        if not found or isinstance(value, Mapping):
            raise NotSet(key)
        return value

    def _configuration(self, words: Sequence[str]) -> Mapping[str, Any]:
        """The configuration under the groups among the words, composed once."""
        choices = tuple(word for word in words if "." not in word.partition("=")[0])
        if choices not in self._known:
            self._known[choices] = self._configured(choices)
        return self._known[choices]

    def refuse_senseless(self) -> None:
        """Raise UserError for a constraint that names a key which no choice has, or nothing that is searched."""
        choices = every_choice(self.space) if self._constraints else []
        for one in self._constraints:
            for key in one.keys:
                if key not in self._searched and not any(self._has(key, words) for words in choices):
                    configurations = [self._configuration(words) for words in choices]
                    raise UserError("sweep.constraints", one.text, _unknown(key, self._searched, configurations))
            if not any(key in self._searched or key.partition(".")[0] in self._searched for key in one.keys):
                mend = "names no searched key: it decides nothing; leave it out"
                raise UserError("sweep.constraints", one.text, mend)

    def _has(self, key: str, words: Sequence[str]) -> bool:
        found, value = lookup(self._configuration(words), key)
        return found and not isinstance(value, Mapping)


def _decides(one: Constraint, part: Part) -> bool:
    """Whether a constraint may depend on a part: it sets one of its keys, or chooses a group that may set one."""
    keys = [word.partition("=")[0].lstrip("+") for word in part.proposal.overrides]
    return any(key in one.keys or "." not in key for key in keys)


def _value(word: str, params: Mapping[str, Scalar]) -> tuple[str, Any]:
    """The key of a proposal's override and its value; a number is there already, anything else is parsed."""
    key = word.partition("=")[0].lstrip("+")
    known = params.get(key)
    return (key, known) if is_number(known) else (key, parse(word).value())


def read_constraints(written: Sequence[str], space: Space, configured: Configured) -> Rules:
    """Read `sweep.constraints`. Raises UserError for text that is none, an unknown key, and where nothing is left."""
    if isinstance(written, str) or not all(isinstance(text, str) for text in written):
        raise UserError("sweep.constraints", written, f"give a list of texts, {_EXAMPLE}")
    rules = Rules([parse_constraint(text) for text in written], space, configured)
    rules.refuse_senseless()
    if rules and next(drawn(space, rules, random.Random(0)), None) is None:
        mend = f"none of {MOST_DRAWS:,} points drawn at random keeps them all; widen the space or drop one"
        raise UserError("sweep.constraints", "; ".join(rules.texts), mend)
    return rules


def drawn(
    space: Space, rules: Rules, source: random.Random, fixed: Mapping[str, Scalar] | None = None
) -> Iterator[Proposal]:
    """Allowed points among so many drawn at random, evenly over choices, ranges and intervals.

    `fixed`: values that all of them have, by Optuna's parameter names.
    """
    for _ in range(MOST_DRAWS):
        proposal = propose(space, RandomAsker(source, fixed))
        if rules.allowed(proposal):
            yield proposal


class RandomAsker:
    """Draws every value at random, uniformly or uniformly in the logarithm."""

    def __init__(self, source: random.Random, fixed: Mapping[str, Scalar] | None = None) -> None:
        self._source = source
        self._fixed = fixed or {}
        self.values: dict[str, Scalar] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """One of the choices."""
        return self._keep(name, self._source.choice(list(choices)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number."""
        if log:
            drawn_ = round(low * (high / low) ** self._source.random())
        else:
            drawn_ = low + step * self._source.randrange((high - low) // step + 1)
        value = self._keep(name, drawn_)
        assert isinstance(value, int)
        return value

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""
        place = self._source.random()
        if step is not None:
            count = round((high - low) / step) + 1
            drawn_ = min(high, low + step * self._source.randrange(count))
        else:
            drawn_ = low * (high / low) ** place if log else low + (high - low) * place
        value = self._keep(name, min(max(drawn_, low), high))
        assert isinstance(value, int | float)
        return value

    def _keep(self, name: str, value: Scalar) -> Scalar:
        self.values[name] = self._fixed.get(name, value)
        return self.values[name]


def lookup(config: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    """Whether a configuration has a dotted key, and its value."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value


def dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of a configuration that holds a value, by its dotted name."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _unknown(key: str, searched: Collection[str], configurations: Sequence[Mapping[str, Any]]) -> str:
    if any(lookup(one, key)[0] for one in configurations):
        return f"{key} is a group that is not searched; name one of its keys"
    known = list(dict.fromkeys([*sorted(searched), *(name for one in configurations for name in dotted(one))]))
    near = difflib.get_close_matches(key, known, 3)
    return f"no such key as {key}; nearest: {', '.join(near) or ', '.join(known[:3])}"

"""The search space: the values of each key, and the dimensions that exist only under a choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from sweeplora.overrides import text_of
from sweeplora.rundir.record import Scalar


@dataclass(frozen=True)
class Choice:
    """One of several values, each kept as the text of a Hydra override (`8`, `null`, `[0.9, 0.99]`)."""

    texts: tuple[str, ...]
    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"choice({', '.join(self.texts)})"

    def text(self, value: Scalar) -> str:
        """The text of one of the values."""
        return self._by_value[value]

    @cached_property
    def _by_value(self) -> Mapping[Scalar, str]:
        return dict(zip(self.values, self.texts, strict=True))


@dataclass(frozen=True)
class Steps:
    """The numbers low, low + step, ... up to and including high (Hydra's range excludes its end).

    `log`: uniform in the logarithm; for integers in steps of 1.
    """

    low: Decimal
    high: Decimal
    step: Decimal
    whole: bool
    log: bool = False

    def __str__(self) -> str:
        text = f"range({self.low}, {self.high + self.step}, {self.step})"
        return f"tag(log, {text})" if self.log else text

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return int((self.high - self.low) / self.step) + 1

    @cached_property
    def values(self) -> tuple[float | int, ...]:
        """Every number, ascending."""
        numbers = [self.low + self.step * i for i in range(self.count)]
        return tuple(int(n) if self.whole else float(n) for n in numbers)

    def nearest(self, number: float) -> float | int:
        """The one of the numbers that is nearest to a finite number."""
        place = round((number - float(self.low)) / float(self.step))
        return self.values[min(max(place, 0), self.count - 1)]


@dataclass(frozen=True)
class Interval:
    """Any number from low to high; `log`: uniform in the logarithm; `whole`: integers only."""

    low: float
    high: float
    log: bool
    whole: bool

    def __str__(self) -> str:
        ends = f"{int(self.low)}, {int(self.high)}" if self.whole else f"{self.low!r}, {self.high!r}"
        text = f"interval({ends})"
        text = f"int({text})" if self.whole else text
        return f"tag(log, {text})" if self.log else text


@dataclass(frozen=True)
class Fixed:
    """A constant value for all trials, as the text of an override."""

    text: str

    def __str__(self) -> str:
        return self.text


Dimension = Choice | Steps | Interval | Fixed
Condition = tuple[str, str]
"""Key and value text under which a branch exists."""


@dataclass(frozen=True)
class Space:
    """Dimensions by dotted key or config group, and the spaces that exist only under a choice.

    `signs`: the "+" or "++" before a key that the configuration does not have.
    """

    dimensions: Mapping[str, Dimension] = field(default_factory=dict)
    branches: Mapping[Condition, Space] = field(default_factory=dict)
    signs: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.dimensions)

    def sign(self, key: str) -> str:
        """The sign before a key in an override."""
        return self.signs.get(key, "")

    def word(self, key: str, text: str) -> str:
        """The override that sets a key to one of its values."""
        return f"{self.sign(key)}{key}={text}"

    def described(self) -> dict[str, Any]:
        """The space as written in a sweep file."""
        told: dict[str, Any] = {f"{self.sign(key)}{key}": str(one) for key, one in self.dimensions.items()}
        for (key, text), branch in self.branches.items():
            told[f"{key}={text}"] = branch.described()
        return told

    def fixed(self, key: str, text: str) -> Space:
        """The space after `key` is fixed elsewhere: its dimension is removed, the branch of its value stays."""
        dimensions = {k: d for k, d in self.dimensions.items() if k != key}
        branches: dict[Condition, Space] = {}
        signs = dict(self.signs)
        for condition, branch in self.branches.items():
            inner = branch.fixed(key, text)
            if condition == (key, text):
                dimensions.update(inner.dimensions)
                branches.update(inner.branches)
                signs.update(inner.signs)
            elif condition[0] != key:
                branches[condition] = inner
        return Space(dimensions, branches, signs)

    def replaced(self, key: str, dimension: Dimension, sign: str = "") -> Space:
        """The space with `dimension` for `key`; branches under values that no longer exist are removed."""
        kept = set(texts_of(dimension))
        branches = {
            condition: branch.fixed(key, "")
            for condition, branch in self.branches.items()
            if condition[0] != key or condition[1] in kept
        }
        signs = {**self.signs, key: sign} if sign else self.signs
        return Space({**self.dimensions, key: dimension}, branches, signs)


def texts_of(dimension: Dimension) -> tuple[str, ...]:
    """Override texts of every value of an enumerable dimension; for an interval, of its two ends."""
    match dimension:
        case Choice():
            return dimension.texts
        case Fixed():
            return (dimension.text,)
        case Steps():
            return tuple(text_of(value) for value in dimension.values)
        case Interval():
            ends = (int(dimension.low), int(dimension.high)) if dimension.whole else (dimension.low, dimension.high)
            return tuple(text_of(end) for end in ends)


def all_keys(space: Space) -> Iterator[str]:
    """Every key that the space may set, branches included."""
    yield from space.dimensions
    for branch in space.branches.values():
        yield from all_keys(branch)

"""Values from a space: one proposal of a sampler, every point of a grid, and a cover of every choice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple, Protocol, TypeGuard

from sweeplora.errors import UserError
from sweeplora.overrides import text_of
from sweeplora.rundir.record import Scalar
from sweeplora.sweep.search.space import Choice, Dimension, Fixed, Interval, Space, Steps, texts_of

_COVERED = 5
"""Of a longer range, so many numbers are tried: its ends and some between."""

_COVERED_OF_A_CHOICE = 16
"""Of a longer choice of numbers, so many."""


class Asker(Protocol):
    """The part of an Optuna trial that suggests values."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """One of `choices`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """An integer."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""


class Proposal(NamedTuple):
    """The Hydra overrides of one trial, and the searched values by key for people and tables."""

    overrides: tuple[str, ...]
    params: dict[str, Scalar]


def propose(space: Space, asker: Asker) -> Proposal:
    """Ask for a value of every dimension, then for those of the branches that these values open."""
    overrides: list[str] = []
    params: dict[str, Scalar] = {}
    _ask(space, asker, "", (overrides, params))
    return Proposal(tuple(overrides), params)


class Part(NamedTuple):
    """What one dimension gives to a point: a value, and a point of the branch that it opens.

    `point`: values by parameter name; `proposal`: the same as overrides, and by key.
    """

    point: dict[str, Scalar]
    proposal: Proposal


def columns(space: Space) -> list[list[Part]]:
    """The parts of every dimension of a space of choices and ranges; its points are the combinations.

    Raises UserError for an interval, which has infinitely many values.
    """
    return _columns(space, "")


def joined(parts: Sequence[Part]) -> Part:
    """Parts as one."""
    return Part(
        {name: value for part in parts for name, value in part.point.items()},
        Proposal(
            tuple(word for part in parts for word in part.proposal.overrides),
            {key: value for part in parts for key, value in part.proposal.params.items()},
        ),
    )


def points(space: Space) -> list[dict[str, Scalar]]:
    """Every combination of a space of choices and ranges, as values by parameter name.

    Raises UserError for an interval, which has infinitely many values.
    """
    pointed = ([part.point for part in column] for column in columns(space))
    return [{name: value for point in parts for name, value in point.items()} for parts in product(*pointed)]


def every_choice(space: Space) -> list[tuple[str, ...]]:
    """Override lists that cover each choice of each branch, and both ends of each interval, at least once.

    There are as many lists as the widest dimension needs, not the product. Of many numbers the ends and a few between
    are taken: what holds for them holds for the others.
    """
    columns: list[list[tuple[str, ...]]] = []
    for key, dimension in space.dimensions.items():
        column: list[tuple[str, ...]] = []
        for text in _cover(dimension):
            branch = space.branches.get((key, text), Space())
            column += [(space.word(key, text), *inner) for inner in every_choice(branch)]
        columns.append(column)
    length = max((len(column) for column in columns), default=1)
    return [tuple(text for column in columns for text in column[row % len(column)]) for row in range(length)]


def size(space: Space) -> int:
    """The number of points, computed without listing them. Raises UserError for an interval."""
    total = 1
    for key, dimension in space.dimensions.items():
        _refuse_interval(key, dimension)
        below = {text: size(branch) for (parent, text), branch in space.branches.items() if parent == key}
        total *= sum(below.get(text, 1) for text in texts_of(dimension))
    return total


def parameter(key: str, where: str) -> str:
    """Optuna's name for a key; unique per branch, since another branch may search the same key."""
    return f"{key} [{where}]" if where else key


def walk(space: Space, where: str = "") -> Iterator[tuple[str, Dimension]]:
    """Every dimension with Optuna's name for it, those of all branches included."""
    for key, dimension in space.dimensions.items():
        yield parameter(key, where), dimension
    for (key, text), branch in space.branches.items():
        yield from walk(branch, inside(where, key, text))


def _ask(space: Space, asker: Asker, where: str, into: tuple[list[str], dict[str, Scalar]]) -> None:
    overrides, params = into
    for key, dimension in space.dimensions.items():
        text, value = ask_value(dimension, asker, parameter(key, where))
        overrides.append(space.word(key, text))
        if not isinstance(dimension, Fixed):
            params[key] = value
        branch = space.branches.get((key, text))
        if branch is not None:
            _ask(branch, asker, inside(where, key, text), into)


def ask_value(dimension: Dimension, asker: Asker, name: str) -> tuple[str, Scalar]:
    """The value of one dimension, as the text of an override and as it is."""
    value: Scalar
    match dimension:
        case Fixed():
            return dimension.text, None
        case Choice():
            value = asker.suggest_categorical(name, dimension.values)
            return dimension.text(value), value
        case Steps(whole=True):
            ends = int(dimension.low), int(dimension.high)
            value = asker.suggest_int(name, *ends, step=int(dimension.step), log=dimension.log)
        case Steps():
            low, high = float(dimension.low), float(dimension.high)
            drawn = asker.suggest_float(name, low, high, step=float(dimension.step))
            # low + n x step in binary floating point may give 0.30000000000000004.
            value = dimension.nearest(drawn)
        case Interval(whole=True):
            value = asker.suggest_int(name, math.ceil(dimension.low), math.floor(dimension.high), log=dimension.log)
        case Interval():
            value = asker.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    return text_of(value), value


def _columns(space: Space, where: str) -> list[list[Part]]:
    columns: list[list[Part]] = []
    for key, dimension in space.dimensions.items():
        _refuse_interval(key, dimension)
        assert not isinstance(dimension, Interval)
        values = (None,) if isinstance(dimension, Fixed) else dimension.values
        column: list[Part] = []
        for text, value in zip(texts_of(dimension), values, strict=True):
            is_searched = not isinstance(dimension, Fixed)
            own = Part(
                {parameter(key, where): value} if is_searched else {},
                Proposal((space.word(key, text),), {key: value} if is_searched else {}),
            )
            branch = space.branches.get((key, text), Space())
            inner = product(*_columns(branch, inside(where, key, text)))
            column += [joined((own, *parts)) for parts in inner]
        columns.append(column)
    return columns


def _refuse_interval(key: str, dimension: Dimension) -> None:
    if isinstance(dimension, Interval):
        raise UserError("search", "grid", f"{key} is {dimension}: a grid needs choice(…) or range(…)")


def _cover(dimension: Dimension) -> tuple[str, ...]:
    """The texts to try: every value that is no number, and of many numbers the ends and a few between."""
    texts = texts_of(dimension)
    values = dimension.values if isinstance(dimension, Choice | Steps) else ()
    numbers = sorted((value, text) for value, text in zip(values, texts, strict=False) if is_number(value))
    most = _COVERED if isinstance(dimension, Steps) else _COVERED_OF_A_CHOICE
    if len(numbers) <= most:
        return texts
    tried = {numbers[index * (len(numbers) - 1) // (most - 1)][1] for index in range(most)}
    left_out = {text for _, text in numbers} - tried
    return tuple(text for text in texts if text not in left_out)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def inside(where: str, key: str, text: str) -> str:
    """The place of a branch, for `parameter`."""
    return f"{where}, {key}={text}" if where else f"{key}={text}"

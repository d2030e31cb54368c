"""`sweep.enqueue`: points of the space that are tried first, as Optuna's parameters."""

from __future__ import annotations

import difflib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from sweeplora.errors import UserError
from sweeplora.overrides import text_of
from sweeplora.rundir.record import Scalar
from sweeplora.sweep.search.proposals import Proposal, inside, is_number, parameter, propose
from sweeplora.sweep.search.rules import Rules, drawn
from sweeplora.sweep.search.space import Choice, Dimension, Fixed, Interval, Space, Steps, all_keys

Point = dict[str, Scalar]
"""Values by Optuna's parameter names."""

_EXAMPLE = "e.g. sweep.enqueue=[{network.dim:8}]"


def read_points(written: Sequence[Any], space: Space, rules: Rules) -> tuple[Point, ...]:
    """The points of `sweep.enqueue`; what a point leaves out, the search proposes.

    Raises UserError for a key that is not searched (or not under the point's own choices), for a value outside its
    dimension, and for a point that breaks a constraint, whatever is proposed for the keys that it leaves out.
    """
    if isinstance(written, str):
        raise UserError("sweep.enqueue", written, f"give a list of points, {_EXAMPLE}")
    found = []
    for number, point in enumerate(written):
        key = f"sweep.enqueue[{number}]"
        if not isinstance(point, Mapping) or not point:
            raise UserError(key, point, "give a mapping of searched keys to values, e.g. {network.dim: 8}")
        params = read_point(point, space, key)
        if params in found:
            raise UserError(key, dict(point), "is given twice")
        _refuse_broken(params, space, rules, (key, point))
        found.append(params)
    return tuple(found)


def read_point(point: Mapping[str, Any], space: Space, key: str) -> Point:
    """One point. Raises UserError that names `key`."""
    left = {str(name): value for name, value in point.items()}
    params = _matched(space, left, "", key)
    if left:
        name, value = next(iter(left.items()))
        raise UserError(f"{key}.{name}", value, _not_here(name, space))
    return params


def value_in(dimension: Dimension, value: Any) -> tuple[str, Scalar] | None:
    """A value as the dimension has it, as text and as proposed; None if it lies outside."""
    text = text_of(value)
    match dimension:
        case Fixed():
            return (dimension.text, None) if text == dimension.text else None
        case Choice():
            for known, one in zip(dimension.texts, dimension.values, strict=True):
                if known == text or (is_number(one) and is_number(value) and one == value):
                    return known, one
            return None
        case Steps():
            near = dimension.nearest(value) if is_number(value) and math.isfinite(value) else None
            same = near is not None and abs(near - value) <= 1e-9 * max(1.0, abs(value))
            return (text_of(near), near) if same else None
        case Interval():
            inside_ = is_number(value) and dimension.low <= value <= dimension.high
            if not inside_ or (dimension.whole and value != int(value)):
                return None
            exact = int(value) if dimension.whole else float(value)
            return text_of(exact), exact


def _matched(space: Space, left: dict[str, Any], where: str, title: str) -> Point:
    """Takes the values of this space and of the branches that they open out of `left`."""
    params: Point = {}
    for key, dimension in space.dimensions.items():
        if key in left:
            value = left.pop(key)
            found = value_in(dimension, value)
            if found is None:
                raise UserError(f"{title}.{key}", value, f"lies outside of {dimension}")
            text, exact = found
            if not isinstance(dimension, Fixed):
                params[parameter(key, where)] = exact
        elif isinstance(dimension, Fixed):
            text = dimension.text
        else:
            continue
        branch = space.branches.get((key, text))
        if branch is not None:
            params |= _matched(branch, left, inside(where, key, text), title)
    return params


def _not_here(name: str, space: Space) -> str:
    keys = list(dict.fromkeys(all_keys(space)))
    if name in keys:
        conditions = [
            f"{key}={text}" for (key, text), branch in space.branches.items() if name in set(all_keys(branch))
        ]
        return f"exists only under {' or '.join(conditions)}: give that choice in the same point"
    near = difflib.get_close_matches(name, keys, 1)
    return f"is not searched; searched are {', '.join(keys)}" + (f" (did you mean {near[0]}?)" if near else "")


class _Whole:
    """Asks for values of a point, and notes whether one was missing."""

    def __init__(self, point: Mapping[str, Scalar]) -> None:
        self._point = point
        self.missing = False

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        """The point's value."""
        return self._value(name, choices[0])

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """The point's value."""
        value = self._value(name, low)
        assert isinstance(value, int)
        return value

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """The point's value."""
        value = self._value(name, low)
        assert isinstance(value, int | float)
        return value

    def _value(self, name: str, otherwise: Scalar) -> Scalar:
        self.missing = self.missing or name not in self._point
        return self._point.get(name, otherwise)


def proposal_of(space: Space, point: Mapping[str, Scalar]) -> Proposal | None:
    """A point as a proposal; None if it leaves keys to the search."""
    asker = _Whole(point)
    proposal = propose(space, asker)
    return None if asker.missing else proposal


def _refuse_broken(params: Point, space: Space, rules: Rules, written: tuple[str, Mapping[str, Any]]) -> None:
    """Refuse a whole point that breaks a constraint, and one that breaks them however it is completed."""
    proposal = proposal_of(space, params)
    if proposal is not None:
        broken = rules.broken(proposal)
        if broken is not None:
            raise UserError(written[0], dict(written[1]), f"breaks sweep.constraints {broken}")
    elif rules and next(drawn(space, rules, random.Random(0), params), None) is None:
        mend = f"breaks sweep.constraints {'; '.join(rules.texts)} whatever its other keys are; give another point"
        raise UserError(written[0], dict(written[1]), mend)


def first_of(grid: Sequence[Point], points: Sequence[Point]) -> list[int]:
    """The order in which a grid is visited: points that were asked for first, then the others."""
    asked: dict[int, None] = {}
    for point in points:
        asked |= dict.fromkeys(i for i, one in enumerate(grid) if point.items() <= one.items())
    return [*asked, *(index for index in range(len(grid)) if index not in asked)]

"""The search space: Hydra's override grammar read into dimensions and branches, and written back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException

from sweeplora.errors import UserError
from sweeplora.rundir.record import Scalar

_EXAMPLE = "e.g. choice(4, 8), range(2, 10, 2), interval(0.1, 0.5) or tag(log, interval(1e-5, 1e-3))"


@dataclass(frozen=True)
class Choice:
    """One of several values, each kept as the text of a Hydra override (`8`, `null`, `[0.9, 0.99]`)."""

    texts: tuple[str, ...]
    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"choice({', '.join(self.texts)})"


@dataclass(frozen=True)
class Steps:
    """The numbers low, low + step, ... up to and including high (Hydra's range leaves its own end out)."""

    low: Decimal
    high: Decimal
    step: Decimal
    whole: bool

    def __str__(self) -> str:
        return f"range({self.low}, {self.high + self.step}, {self.step})"

    @property
    def values(self) -> tuple[float | int, ...]:
        """Every number, ascending."""
        count = int((self.high - self.low) / self.step) + 1
        numbers = [self.low + self.step * i for i in range(count)]
        return tuple(int(n) if self.whole else float(n) for n in numbers)


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
    """One value for all trials, as the text of an override."""

    text: str

    def __str__(self) -> str:
        return self.text


Dimension = Choice | Steps | Interval | Fixed
Condition = tuple[str, str]
"""Key and value text under which a branch exists."""


@dataclass(frozen=True)
class Space:
    """Dimensions by dotted key or config group, and the spaces that exist only under a choice."""

    dimensions: Mapping[str, Dimension] = field(default_factory=dict)
    branches: Mapping[Condition, Space] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.dimensions)

    def described(self) -> dict[str, Any]:
        """The space as a sweep file would say it."""
        told: dict[str, Any] = {key: str(dimension) for key, dimension in self.dimensions.items()}
        for (key, text), branch in self.branches.items():
            told[f"{key}={text}"] = branch.described()
        return told

    def fixed(self, key: str, text: str) -> Space:
        """The space with `key` held at one value elsewhere: its dimension goes, that value's branch stays."""
        dimensions = {k: d for k, d in self.dimensions.items() if k != key}
        branches: dict[Condition, Space] = {}
        for condition, branch in self.branches.items():
            inner = branch.fixed(key, text)
            if condition == (key, text):
                dimensions.update(inner.dimensions)
                branches.update(inner.branches)
            elif condition[0] != key:
                branches[condition] = inner
        return Space(dimensions, branches)

    def replaced(self, key: str, dimension: Dimension) -> Space:
        """The space with `dimension` for `key`; branches under values that are no longer there go."""
        kept = set(texts_of(dimension))
        branches = {
            condition: branch.fixed(key, "")
            for condition, branch in self.branches.items()
            if condition[0] != key or condition[1] in kept
        }
        return Space({**self.dimensions, key: dimension}, branches)


def parse_space(written: Mapping[str, Any], where: str = "sweep.space") -> Space:
    """Read a sweep file's `space`: key -> grammar, and `key=value` -> a mapping of the same kind.

    Raises UserError for text that is not the grammar, and for a branch under a value that its choice lacks.
    """
    dimensions = {
        key: parse_dimension(key, value, where) for key, value in written.items() if not isinstance(value, Mapping)
    }
    branches: dict[Condition, Space] = {}
    for title, inner in written.items():
        if isinstance(inner, Mapping):
            condition = _condition(title, dimensions, where)
            branches[condition] = parse_space(inner, f"{where}.{title}")
    return Space(dimensions, branches)


def parse_dimension(key: str, value: object, where: str = "sweep.space") -> Dimension:
    """Read one dimension; a plain number, null, list or word is a fixed value. Raises UserError."""
    text = value if isinstance(value, str) else Transformer.str(value)  # type: ignore[arg-type]
    try:
        override = _parser().parse_override(f"{key}={text}")
    except HydraException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}.{key}", text, f"not Hydra's grammar ({reason}); {_EXAMPLE}") from error
    return _dimension(override, f"{where}.{key}", str(text))


def texts_of(dimension: Dimension) -> tuple[str, ...]:
    """Override texts of every value of a dimension that can be enumerated; an interval's are its two ends."""
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


def text_of(value: object) -> str:
    """A value as the right side of a Hydra override: 0.001 -> `0.001`, None -> `null`."""
    return str(Transformer.str(value))  # type: ignore[arg-type]


def split_command_line(overrides: Sequence[str]) -> tuple[list[str], dict[str, Dimension]]:
    """Separate `key=choice(4,8)` and its like, which Hydra alone would refuse, from ordinary overrides."""
    plain: list[str] = []
    swept: dict[str, Dimension] = {}
    for text in overrides:
        override = _readable(text)
        if override is not None and override.is_sweep_override():
            key, _, value = text.partition("=")
            swept[key] = _dimension(override, key, value)
        else:
            plain.append(text)
    return plain, swept


def on_command_line(space: Space, plain: Sequence[str], swept: Mapping[str, Dimension]) -> Space:
    """The sweep file's space after the command line: `key=8` fixes a dimension, `key=choice(…)` replaces it."""
    for text in plain:
        override = _readable(text)
        if override is not None and not override.is_delete():
            space = space.fixed(override.key_or_group, text_of(override.value()))
    for key, dimension in swept.items():
        space = space.replaced(key, dimension)
    return space


def all_keys(space: Space) -> Iterator[str]:
    """Every key that the space may set, branches included."""
    yield from space.dimensions
    for branch in space.branches.values():
        yield from all_keys(branch)


def _parser() -> OverridesParser:
    """Hydra's own parser, whose choice(...) alone of all takes no null: here it does."""
    functions = create_functions()
    functions.functions.pop("choice")
    functions.definitions.pop("choice")
    functions.register("choice", lambda *values: _choice_of(values))
    return OverridesParser(functions)


def _choice_of(values: tuple[Any, ...]) -> ChoiceSweep:
    if not values:
        raise ValueError("an empty choice")
    if len(values) == 1 and isinstance(values[0], ChoiceSweep):
        return ChoiceSweep(list=values[0].list)
    return ChoiceSweep(list=list(values))


def _readable(text: str) -> Override | None:
    try:
        return _parser().parse_override(text)
    except HydraException:
        return None


def _condition(title: str, dimensions: Mapping[str, Dimension], where: str) -> Condition:
    override = _readable(title)
    if override is None or "=" not in title:
        raise UserError(f"{where}.{title}", "{…}", "a branch is titled key=value, e.g. 'optimizer=adamw: {…}'")
    key, text = override.key_or_group, text_of(override.value())
    parent = dimensions.get(key)
    if not isinstance(parent, Choice | Steps | Fixed):
        raise UserError(f"{where}.{title}", "{…}", f"a branch needs '{key}: choice(…)' beside it")
    if text not in texts_of(parent):
        raise UserError(f"{where}.{title}", "{…}", f"{text} is not among the values of {key}: {parent}")
    return key, text


def _dimension(override: Override, key: str, text: str) -> Dimension:
    value = override.value()
    match value:
        case ChoiceSweep():
            return _choice(value)
        case RangeSweep():
            return _steps(value, key, text)
        case IntervalSweep():
            return _interval(value, key, text)
    if override.is_sweep_override():
        raise UserError(key, text, f"not a sweep that can be searched; {_EXAMPLE}")
    return Fixed(text_of(override.value()) if override.value() is not None else "null")


def _choice(sweep: ChoiceSweep) -> Choice:
    texts = tuple(dict.fromkeys(text_of(value) for value in sweep.list))
    plain = {text_of(value): _scalar(value) for value in sweep.list}
    values = tuple(plain[text] for text in texts)
    # 1, 1.0 and true are equal to Optuna: where that happens the texts stand for the values.
    return Choice(texts, values if len(set(values)) == len(texts) else texts)


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return text_of(value)


def _steps(sweep: RangeSweep, key: str, text: str) -> Steps:
    start, stop, step = (Decimal(str(n)) for n in (sweep.start, sweep.stop, sweep.step))
    if step == 0 or (stop - start) / step <= 0:
        raise UserError(key, text, "an empty range; give range(start, stop, step) with stop beyond start")
    count = -int(-(stop - start) // step)
    last = start + step * (count - 1)
    whole = all(isinstance(n, int) for n in (sweep.start, sweep.stop, sweep.step))
    return Steps(min(start, last), max(start, last), abs(step), whole)


def _interval(sweep: IntervalSweep, key: str, text: str) -> Interval:
    assert sweep.start is not None and sweep.end is not None
    log = "log" in sweep.tags
    unknown = sorted(sweep.tags - {"log"})
    if unknown:
        raise UserError(key, text, f"tag {unknown[0]} is not known; the one tag is log")
    if not sweep.start < sweep.end:
        raise UserError(key, text, "an empty interval; give interval(low, high) with low below high")
    if log and sweep.start <= 0:
        raise UserError(key, text, "a logarithmic interval starts above 0")
    whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
    return Interval(sweep.start, sweep.end, log, whole)

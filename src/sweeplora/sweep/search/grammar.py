"""Parses Hydra's override grammar into a search space: a sweep file's `space`, and the words of a command line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Sweep, Transformer

from sweeplora.errors import UserError, shortened
from sweeplora.overrides import parse, text_of, written_value
from sweeplora.rundir.record import Scalar
from sweeplora.sweep.search.space import (
    Choice,
    Condition,
    Dimension,
    Fixed,
    Interval,
    Space,
    Steps,
    all_keys,
    texts_of,
)

_EXAMPLE = "e.g. choice(4, 8), range(2, 10, 2), interval(0.1, 0.5) or tag(log, interval(1e-5, 1e-3))"
_MOST_VALUES = 10_000


def parse_space(written: Mapping[str, Any], where: str = "sweep.space", outside: frozenset[str] = frozenset()) -> Space:
    """Read a sweep file's `space`: key -> grammar, and `key=value` -> a mapping of the same kind.

    `outside`: the keys of the enclosing spaces. Raises UserError for text that does not match the grammar, for a branch
    under a value that its choice lacks, and for a key that is searched twice.
    """
    dimensions: dict[str, Dimension] = {}
    signs: dict[str, str] = {}
    for title, value in written.items():
        if isinstance(value, Mapping):
            continue
        override = _override(str(title), value, where)
        key = override.key_or_group
        if key in dimensions or key in outside:
            around = " and inside a branch: give it in every branch" if key in outside else ""
            raise UserError(f"{where}.{title}", value, f"is searched twice{around or '; give it once'}")
        dimensions[key] = _dimension(override, f"{where}.{title}")
        signs |= _signs(override)
    branches: dict[Condition, Space] = {}
    for title, inner in written.items():
        if isinstance(inner, Mapping):
            condition = _condition(str(title), dimensions, where)
            branches[condition] = parse_space(inner, f"{where}.{title}", outside | set(dimensions))
    return Space(dimensions, branches, signs)


def split_command_line(words: Sequence[str]) -> tuple[list[str], Space]:
    """Separate searches such as `key=choice(4,8)`, which Hydra by itself would refuse, from ordinary overrides.

    Raises UserError for a word that does not match the grammar, and for a key that is both searched and given.
    """
    plain: list[str] = []
    swept = Space()
    overrides = [parse(word) for word in words]
    for word, override in zip(words, overrides, strict=True):
        if not override.is_sweep_override():
            plain.append(word)
            continue
        key = override.key_or_group
        _given_once(key, overrides)
        if override.is_delete():
            raise UserError(f"~{key}", written_value(override), "a key is deleted without a choice of values")
        swept = swept.replaced(key, _dimension(override, key), _signs(override).get(key, ""))
    return plain, swept


def on_command_line(space: Space, plain: Sequence[str], swept: Space) -> Space:
    """The sweep file's space with the command line applied: `key=8` fixes a dimension, `key=choice(…)` replaces it."""
    for word in plain:
        override = parse(word)
        if not override.is_delete():
            space = space.fixed(override.key_or_group, text_of(override.value()))
    for key, dimension in swept.dimensions.items():
        sign = "" if key in set(all_keys(space)) else swept.sign(key)
        space = space.replaced(key, dimension, sign)
    return space


def answers(written: Mapping[str, Any], plain: Sequence[str]) -> list[str]:
    """The words that give every key of a sweep file's `space` one value; none while something is left to search.

    Raises UserError for a space that does not match the grammar.
    """
    given = [word for word in plain if not word.startswith("~")]
    known = {parse(word).key_or_group for word in given}
    if not written or not any(str(title).lstrip("+") in known for title in written):
        return []
    space = parse_space(written)
    keys = set(all_keys(space))
    return [] if on_command_line(space, plain, Space()) else [w for w in given if parse(w).key_or_group in keys]


def _given_once(key: str, overrides: Sequence[Override]) -> None:
    values = [written_value(override) for override in overrides if override.key_or_group == key]
    if len(values) > 1:
        raise UserError(
            key, values[0], f"is given again as {shortened(values[1]) or 'deleted'}; give a key that is searched once"
        )


def _signs(override: Override) -> dict[str, str]:
    sign = "++" if override.is_force_add() else "+" if override.is_add() else ""
    return {override.key_or_group: sign} if sign else {}


def _override(title: str, value: object, where: str) -> Override:
    text = value if isinstance(value, str) else Transformer.str(value)  # type: ignore[arg-type]
    try:
        override = parse(f"{title}={text}")
    except UserError as error:
        raise UserError(f"{where}.{title}", text, f"{error.mend}; {_EXAMPLE}") from error
    if override.get_key_element() != title or override.is_delete():
        raise UserError(f"{where}.{title}", text, f"is no key; {_EXAMPLE}")
    return override


def _condition(title: str, dimensions: Mapping[str, Dimension], where: str) -> Condition:
    whole = f"{where}.{title}"
    try:
        override = parse(title)
    except UserError as error:
        raise UserError(whole, "{…}", "a branch is titled key=value, e.g. 'optimizer=adamw: {…}'") from error
    key, text = override.key_or_group, text_of(override.value())
    parent = dimensions.get(key)
    if not isinstance(parent, Choice | Steps | Fixed):
        raise UserError(whole, "{…}", f"a branch needs '{key}: choice(…)' beside it")
    if text not in texts_of(parent):
        raise UserError(whole, "{…}", f"{text} is not among the values of {key}: {parent}")
    return key, text


def _dimension(override: Override, key: str) -> Dimension:
    value, text = override.value(), written_value(override)
    if isinstance(value, Sweep):
        _check_tags(value, key, text)
    match value:
        case ChoiceSweep():
            return _choice(value, key, text)
        case RangeSweep():
            return _steps(value, key, text)
        case IntervalSweep():
            return _interval(value, key, text)
    if override.is_sweep_override():
        raise UserError(key, text, f"not a sweep that can be searched; {_EXAMPLE}")
    return Fixed(text_of(value))


def _check_tags(sweep: Sweep, key: str, text: str) -> None:
    """Refuse tags that a search would ignore."""
    unknown = sorted(sweep.tags - {"log"})
    if unknown:
        raise UserError(key, text, f"tag {unknown[0]} is not known; the one tag is log")
    if isinstance(sweep, ChoiceSweep) and sweep.tags:
        raise UserError(key, text, "a choice has no logarithm; leave tag(log, …) out, or use tag(log, interval(…))")
    if isinstance(sweep, ChoiceSweep | RangeSweep) and sweep.shuffle:
        raise UserError(key, text, "the search decides on the order; leave shuffle(…) out")


def _choice(sweep: ChoiceSweep, key: str, text: str) -> Choice:
    if len(sweep.list) > _MOST_VALUES:
        raise UserError(key, text, f"has {len(sweep.list)} values; give at most {_MOST_VALUES}, or interval(low, high)")
    texts = tuple(dict.fromkeys(text_of(value) for value in sweep.list))
    plain = {text_of(value): _scalar(value) for value in sweep.list}
    values = tuple(plain[text] for text in texts)
    # Optuna treats 1, 1.0 and true as equal: if a choice has such values, use their texts instead.
    return Choice(texts, values if len(set(values)) == len(texts) else texts)


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return text_of(value)


def _steps(sweep: RangeSweep, key: str, text: str) -> Steps:
    start, stop, step = (Decimal(str(n)) for n in (sweep.start, sweep.stop, sweep.step))
    if not (start.is_finite() and stop.is_finite() and step.is_finite()):
        raise UserError(key, text, f"a range has finite ends; {_EXAMPLE}")
    if step == 0 or (stop - start) / step <= 0:
        raise UserError(key, text, "an empty range; give range(start, stop, step) with stop beyond start")
    whole_steps, rest = divmod(stop - start, step)
    count = int(whole_steps) + (rest != 0)
    if count > _MOST_VALUES:
        raise UserError(key, text, f"has {count} values; give at most {_MOST_VALUES}, or interval(low, high)")
    last = start + step * (count - 1)
    whole = all(isinstance(n, int) for n in (sweep.start, sweep.stop, sweep.step))
    log = "log" in sweep.tags
    if log and not (whole and abs(step) == 1 and min(start, last) >= 1):
        mend = "a logarithmic range has whole numbers above 0 in steps of 1; use that, or tag(log, interval(low, high))"
        raise UserError(key, text, mend)
    return Steps(min(start, last), max(start, last), abs(step), whole, log)


def _interval(sweep: IntervalSweep, key: str, text: str) -> Interval:
    assert sweep.start is not None and sweep.end is not None
    log = "log" in sweep.tags
    if not (math.isfinite(sweep.start) and math.isfinite(sweep.end)):
        raise UserError(key, text, "an interval has finite ends")
    if not sweep.start < sweep.end:
        raise UserError(key, text, "an empty interval; give interval(low, high) with low below high")
    if log and sweep.start <= 0:
        raise UserError(key, text, "a logarithmic interval starts above 0")
    whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
    return Interval(sweep.start, sweep.end, log, whole)

"""Whether the best value of a searched key lies at the edge of its range, so that better ones may lie outside."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sweeplora.report.declared import Limits
from sweeplora.rundir.record import Scalar

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LONG = 1e7
_CLOSE = 0.05
"""Of an interval, the share at each end that counts as its edge."""


class Span(NamedTuple):
    """The numbers that a key may take, from low to high; `log`: spread evenly in the logarithm; `listed`: no others."""

    low: float
    high: float
    log: bool
    listed: bool


def edges(
    space: Mapping[str, Any], best: Mapping[str, Scalar], limits: Callable[[str], Limits] = lambda key: Limits()
) -> list[str]:
    """What to widen, one line for each searched number of the best trial that lies at an edge of its range.

    `space` as study.json describes it, `limits`: what a key takes. An edge that cannot be widened is left out: no batch
    is smaller than one image, no share is above one, and where no least value is declared, zero is taken for it.
    """
    found = []
    for key, span in spans(space, best):
        value = best.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or span.low == span.high:
            continue
        place = _place(float(value), span)
        margin = 0.0 if span.listed else _CLOSE
        least, most = limits(key)
        if place >= 1 - margin and (most is None or span.high < most):
            found.append(
                f"the best {key}, {_shown(value)}, is at the upper edge: widen {key} above {_shown(span.high)}"
            )
        elif place <= margin and span.low != (0 if least is None else least):
            found.append(f"the best {key}, {_shown(value)}, is at the lower edge: widen {key} below {_shown(span.low)}")
    return found


def _shown(value: float) -> str:
    """A whole number with all its digits, another one with four."""
    return str(int(value)) if value == int(value) and abs(value) < _LONG else f"{value:.4g}"


def spans(space: Mapping[str, Any], best: Mapping[str, Scalar]) -> Iterator[tuple[str, Span]]:
    """The span of every key that is searched over numbers, those of the branches that `best` took included."""
    for written, content in space.items():
        if isinstance(content, Mapping):
            key, _, value = written.partition("=")
            if _has_value(best[key] if key in best else space.get(key), value):
                yield from spans(content, best)
        elif (span := _span(str(content))) is not None:
            yield written.lstrip("+"), span


def _has_value(value: object, text: str) -> bool:
    """Whether a trial's value is the one that a branch is titled with, however it is written: true, null, `1e-4`."""
    from sweeplora.overrides import parse, text_of  # Hydra, which reports of spaces without branches do without

    title = text_of(parse(f"key={text}").value())
    return title in (value, text_of(value))


def drawn_freely(space: Mapping[str, Any]) -> Iterator[str]:
    """The keys that are searched over intervals, where hardly two trials have the same value."""
    for written, content in space.items():
        if isinstance(content, Mapping):
            yield from drawn_freely(content)
        elif "interval(" in str(content):
            yield written.lstrip("+")


def _span(text: str) -> Span | None:
    """The numbers of `choice(…)`, `range(low, past, step)` or `interval(low, high)`, tagged or not."""
    kind, _, inside = text.replace("tag(log,", "").replace("int(", "").strip().partition("(")
    parts = [part.strip() for part in inside.rstrip(") ").split(",")]
    numbers = [float(part) for part in parts if _NUMBER.fullmatch(part)]
    log = text.startswith("tag(log")
    match kind.strip():
        case "choice" if len(numbers) > 1:
            return Span(min(numbers), max(numbers), log, True)
        case "range" if len(numbers) == 3:
            return Span(numbers[0], numbers[1] - numbers[2], log, True)
        case "interval" if len(numbers) == 2:
            return Span(numbers[0], numbers[1], log, False)
    return None


def _place(value: float, span: Span) -> float:
    """Where a value lies, from 0 at the low end to 1 at the high end."""
    if span.log and span.low > 0 < value:
        return math.log(value / span.low) / math.log(span.high / span.low)
    return (value - span.low) / (span.high - span.low)

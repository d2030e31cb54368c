"""PowerShell's values: how they read as text, as truth, and how they compare."""

from __future__ import annotations

import fnmatch
import operator
import re

from sweeplora.convert.scripts.text import Text, Unknown

Value = Text | bool | int | float | None | tuple["Value", ...]
"""A text (with what is unknown in it), a number, $true, $false, $null or a list."""

_ORDERED = {"eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "ge": operator.ge, "lt": operator.lt}
_ORDERED["le"] = operator.le


def unknown(name: str, why: str, line: int) -> Text:
    """A value that is only known at run time."""
    return Text(name, (Unknown(name, why, line),))


def as_text(value: Value) -> Text:
    """The value in a string or as a word."""
    if isinstance(value, Text):
        return value
    if isinstance(value, tuple):
        joined = Text()
        for index, one in enumerate(value):
            joined = joined + Text(" " if index else "") + as_text(one)
        return joined
    if value is None:
        return Text()
    return Text(f"{value:g}" if isinstance(value, float) and value == int(value) else str(value))


def open_on(value: Value) -> str:
    """What makes a value unknown; empty if it is known and set by the script."""
    text = as_text(value)
    if text.unknowns:
        return text.unknowns[0].name
    return f"$env:{text.outside[0]}" if text.outside else ""


def truth(value: Value) -> bool:
    """Whether a known value is true."""
    if isinstance(value, tuple):
        return len(value) > 1 or (len(value) == 1 and truth(value[0]))
    return value.text != "" if isinstance(value, Text) else bool(value)


def compare(left: Value, name: str, right: Value) -> bool | None:
    """`left -name right` of known values; None for a comparison that is not evaluated here."""
    sensitive = name.startswith("c") and name not in ("contains",)
    name = name[1:] if name[:1] in "ci" and name not in ("contains", "in") else name
    if name in ("contains", "notcontains"):
        found = any(compare(one, "eq", right) for one in (left if isinstance(left, tuple) else (left,)))
        return found == (name == "contains")
    if name in ("in", "notin"):
        found = any(compare(left, "eq", one) for one in (right if isinstance(right, tuple) else (right,)))
        return found == (name == "in")
    if isinstance(left, tuple):
        return None
    if name in ("like", "notlike"):
        pattern, text = as_text(right).text.lower(), as_text(left).text.lower()
        return fnmatch.fnmatchcase(text, pattern) == (name == "like")
    if name not in _ORDERED:
        return None
    if left is None or right is None:
        return (left is right) == (name == "eq") if name in ("eq", "ne") else None
    return _ordered(left, name, right, sensitive)


def _ordered(left: Value, name: str, right: Value, sensitive: bool) -> bool | None:
    if isinstance(left, bool):
        return bool(_ORDERED[name](left, truth(right)))
    if isinstance(left, int | float):
        number = number_of(right)
        return None if number is None else bool(_ORDERED[name](left, number))
    first, second = as_text(left).text, as_text(right).text
    if not sensitive:
        first, second = first.lower(), second.lower()
    return bool(_ORDERED[name](first, second))


def number_of(value: Value) -> int | float | None:
    """The value as a number, or None."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    text = as_text(value).text.strip()
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text) else None

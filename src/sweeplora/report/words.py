"""Numbers, durations, paths and searched values formatted for people."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path


def params_text(params: Mapping[str, object]) -> str:
    """Searched values on one line, each key by its last part: `dim=8 alpha=4`."""
    return " ".join(f"{key.rpartition('.')[2]}={number(value)}" for key, value in params.items())


def named_values(params: Mapping[str, object]) -> str:
    """Searched values as a name: `dim 8 · alpha 4`, each key by its last part."""
    return " · ".join(f"{key.rpartition('.')[2]} {number(value, 'null')}" for key, value in params.items())


def bare_values(params: Mapping[str, object]) -> str:
    """Searched values alone, for a column whose heading names the keys: `8 · 4`."""
    return " · ".join(number(value, "null") for value in params.values())


def brief_values(params: Mapping[str, object], points: bool = True) -> str:
    """Searched values as a name for a column of about 22 letters, in the longest form that fits.

    `dim 16 · alpha 4`, or with more keys `dim16 alp4 lr.0059`, or the values alone, `16 · 4 · .0059 · .1`. The form
    follows from the keys, so that all trials that searched the same have the same one. Without `points`, for names that
    may hold none, decimals are written as `59e-4`.
    """
    keys = [key.rpartition(".")[2] for key in params]
    if sum(len(key) + 1 + _USUAL_VALUE for key in keys) + 3 * (len(keys) - 1) <= _MOST_OF_NAMED:
        values = [_rounded(value, 3) if points else _pointless(value, 3) for value in params.values()]
        return " · ".join(f"{key} {value}" for key, value in zip(keys, values, strict=True))
    brief = {key: _brief(value) if points else _pointless(value, 2) for key, value in params.items()}
    if sum(min(len(key), _BRIEF_KEY) + 1 + _BRIEF_VALUE for key in keys) <= _MOST_OF_BRIEF:
        return " ".join(
            _brief_pair(key[:_BRIEF_KEY], params[whole], brief[whole]) for key, whole in zip(keys, params, strict=True)
        )
    return (" · " if len(params) <= _FEW_VALUES else " ").join(brief.values())


_USUAL_VALUE, _MOST_OF_NAMED = 5, 27
_BRIEF_KEY, _BRIEF_VALUE, _MOST_OF_BRIEF = 3, 4, 24
_FEW_VALUES = 4
"""Letters of a value and of a key as they usually are, and what fits into MLflow's column of names with a number."""


def _brief_pair(key: str, value: object, brief: str) -> str:
    """`lr.0059`; a word says what it is without its key."""
    if isinstance(value, str):
        return brief
    return f"{key}={brief}" if value is None or isinstance(value, bool) else f"{key}{brief}"


def _brief(value: object) -> str:
    """A value in few letters: `.0059`, `3e-5`."""
    text = _rounded(value, 2)
    if not isinstance(value, float):
        return text
    scientific = re.sub(r"e([+-])0*", lambda found: "e-" if found[1] == "-" else "e", f"{value:.1e}").replace(
        ".0e", "e"
    )
    plain = re.sub(r"^(-?)0\.", r"\1.", text)
    return scientific if "e" in text or len(scientific) < len(plain) else plain


def _pointless(value: object, digits: int) -> str:
    """A value whose decimals are a power of ten: `59e-4` for 0.0059."""
    text = _rounded(value, digits)
    if not isinstance(value, float) or not math.isfinite(value):
        return text
    sign, figures, exponent = Decimal(text).normalize().as_tuple()
    written = "".join(map(str, figures))
    if isinstance(exponent, int) and 0 < exponent <= digits:
        return f"{'-' * sign}{written}{'0' * exponent}"
    return f"{'-' * sign}{written}{f'e{exponent}' if exponent else ''}"


def _rounded(value: object, digits: int) -> str:
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def number(value: object, missing: str = "-") -> str:
    """A number rounded for reading; other values unchanged."""
    if value is None:
        return missing
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock(seconds: float | None) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def near(path: Path) -> Path:
    """A path as one would type it in the working directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path

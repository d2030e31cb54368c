"""Numbers, durations, paths and searched values formatted for people."""

from __future__ import annotations

from collections.abc import Mapping
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

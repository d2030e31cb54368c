"""JSON for programs: numbers that JSON has no word for are text, `"nan"`, `"inf"`, `"-inf"`, in every output alike."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(data: Any, indent: int | None = None) -> str:
    """The data as JSON that every parser reads; a loss that is no number stays visible, as text."""
    return json.dumps(finite(data), indent=indent, allow_nan=False)


def finite(data: Any) -> Any:
    """The data with every number that is not finite as text."""
    if isinstance(data, Mapping):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data

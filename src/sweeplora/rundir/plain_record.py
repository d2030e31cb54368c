"""`trial.json` and `study.json` as plain data, for lists of thousands: of the right shape, or damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeplora.rundir.files import is_intact

_NUMBER = (int, float)
_TRIAL: Mapping[str, Any] = {
    **{"verdict": str, "study": str, "signature": str, "message": str, "parent": str, "found": str},
    **{"number": int, "replicate": int, "steps": int, "processes": int, "threads": int, "pieces": int},
    **{"params": dict, "contents": dict, "code": dict, "attempts": list, "overrides": list},
    "value": (*_NUMBER, list),
}
_ATTEMPT: Mapping[str, Any] = {"started": _NUMBER, "ended": _NUMBER, "slot": int, "pid": int, "message": str}
_STUDY: Mapping[str, Any] = {
    "state": str,
    "objective": (str, list),
    "trials": int,
    "started": _NUMBER,
    "ended": _NUMBER,
}


def read_plain_trial(file: Path | str) -> dict[str, Any] | None:
    """A run's record; None if there is none or it is damaged."""
    content = _read(file, _TRIAL)
    if content is None:
        return None
    attempts, params = content.get("attempts") or [], content.get("params") or {}
    fits = all(isinstance(one, dict) and _fits(one, _ATTEMPT) for one in attempts)
    return content if fits and all(map(_is_scalar, params.values())) else None


def read_plain_study(file: Path | str) -> dict[str, Any] | None:
    """A study's record; None if there is none or it is damaged."""
    content = _read(file, _STUDY)
    objective = None if content is None else content.get("objective")
    is_named = not isinstance(objective, list) or all(isinstance(name, str) for name in objective)
    return content if is_named else None


def _read(file: Path | str, kinds: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        with open(file, "rb") as stream:  # quicker than Path's own reading, which counts for thousands of runs
            content = json.loads(stream.read())
    except (OSError, ValueError, RecursionError):
        return None
    is_whole = isinstance(content, dict) and is_intact(content) and _fits(content, kinds)
    return content if is_whole else None


def _fits(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> bool:
    return all(content.get(key) is None or isinstance(content[key], kind) for key, kind in kinds.items())


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)

"""The facts and the list of files of a session, read where they may be damaged, as those of another shape are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from sweeplora.rundir.files import read_sealed

FACTS = "session.json"
MANIFEST = "workspace.json"

_Types = Mapping[str, tuple[type, ...]]

_OPTIONAL = (str, NoneType)
_OF_FACTS: _Types = {"folder": _OPTIONAL, "workspace": _OPTIONAL, "prompts": _OPTIONAL}
_OF_REPOSITORY: _Types = {
    "commit": _OPTIONAL,
    "branch": _OPTIONAL,
    "remotes": (dict, NoneType),
    "left_out": (list, NoneType),
}
_OF_FILE: _Types = {"sha256": (str,), "size": (int,), "link": (str,), "why": (str,)}


def read_facts(session: Path) -> dict[str, Any] | None:
    """What a session's folder says of itself; None if it says nothing or is damaged."""
    facts = read_sealed(session / FACTS)
    if facts is None or not _fits(facts, _OF_FACTS) or not isinstance(facts.get("time", 0.0), int | float):
        return None
    repositories = facts.get("repositories") or []
    if not isinstance(repositories, list):
        return None
    known = all(_names(one, "label", "root") and _fits(one, _OF_REPOSITORY) for one in repositories)
    return facts if known else None


def read_manifest(session: Path) -> dict[str, Any]:
    """The list of a session's files: `files` and `left_out`; empty if there is none or it is damaged."""
    try:
        content = json.loads((session / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or not _fits(content, {"root": (str,)}):
        return {}
    kept, out = content.get("files", []), content.get("left_out", [])
    if not isinstance(kept, list) or not isinstance(out, list):
        return {}
    known = all(_names(one, "path", "sha256") and "size" in one for one in kept) and all(
        _names(one, "path", "why") for one in out
    )
    return content if known and all(_fits(one, _OF_FILE) for one in (*kept, *out)) else {}


def _names(one: Any, *keys: str) -> bool:
    """Whether something is an object with texts under these keys."""
    return isinstance(one, dict) and all(isinstance(one.get(key), str) for key in keys)


def _fits(content: Mapping[str, Any], types: _Types) -> bool:
    """Whether the keys that are there have values of these types."""
    return all(isinstance(content[key], kinds) for key, kinds in types.items() if key in content)

"""A run's resolved configuration, read where it may be damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SECTIONS = ("data", "model", "network", "train", "sample", "sweep", "tracking")


def is_resolved(config: Any) -> bool:
    """Whether what a config.yaml holds has the shape of a resolved configuration: what should be a section is one."""
    if not isinstance(config, dict):
        return False
    return all(config.get(name) is None or isinstance(config[name], Mapping) for name in _SECTIONS)

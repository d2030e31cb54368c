"""YAML of configurations, read by libyaml: ten times as fast as PyYAML's own parser, where it is not there."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str | bytes) -> Any:
    """What a YAML document holds, built of plain types. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_LOADER)

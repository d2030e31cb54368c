"""The order in which config groups are converted, reported and written."""

from __future__ import annotations

import yaml

from sweeplora.config import catalog


def group_order() -> list[str]:
    """The config groups in the order of the shipped conf/config.yaml."""
    defaults = yaml.safe_load((catalog.shipped("conf") / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return [group for choice in defaults if isinstance(choice, dict) for group in choice]

"""Network options for tests: the shipped configuration with changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sweeplora.networks.algorithms import Algorithm, LoCon, LoHa, LoKr

_CONF = Path(__file__).parents[2] / "conf" / "network"
_KINDS: dict[str, type[Any]] = {"locon": LoCon, "loha": LoHa, "lokr": LoKr}


def options(kind: str, **changes: Any) -> Algorithm:
    """`locon`, `loha` or `lokr` as its file in conf/network says, but for `changes`."""
    values = yaml.safe_load((_CONF / f"{kind}.yaml").read_text())
    del values["_target_"]
    made: Algorithm = _KINDS[kind](**{**values, **changes})
    return made

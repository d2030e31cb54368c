"""Network options for tests: the shipped configuration with changes."""

from __future__ import annotations

import functools
from typing import Any

from hydra.utils import get_object

from sweeplora.config.compose import compose
from sweeplora.networks.algorithms import Algorithm

KINDS = ("locon", "dora", "loha", "lokr", "dylora", "glora", "tlora", "full", "ia3", "diag-oft", "boft")


def options(kind: str, **changes: Any) -> Any:
    """An algorithm as its file in conf/network says, but for `changes`."""
    values = {**_shipped(kind), **changes}
    made: Algorithm = get_object(values.pop("_target_"))(**values)
    return made


@functools.cache
def _shipped(kind: str) -> dict[str, Any]:
    config: dict[str, Any] = compose([f"network={kind}"]).config["network"]
    return config

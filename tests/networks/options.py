"""Network options for tests: the shipped configuration with changes."""

from __future__ import annotations

import functools
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

from sweeplora.config.catalog import shipped
from sweeplora.networks.algorithms import Algorithm

KINDS = ("locon", "dora", "loha", "lokr", "dylora", "glora", "tlora", "full", "ia3", "diag-oft", "boft")


def options(kind: str, **changes: Any) -> Any:
    """An algorithm as its file in conf/network says, but for `changes`."""
    values = {**_shipped(kind), **changes}
    made: Algorithm = get_object(values.pop("_target_"))(**values)
    return made


@functools.cache
def _shipped(kind: str) -> dict[str, Any]:
    """The file and what it is made of, without the rest of the configuration: a hundredth of a second."""
    with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        config = OmegaConf.to_container(compose(f"network/{kind}"), resolve=True)
    assert isinstance(config, dict)
    return dict(config["network"])

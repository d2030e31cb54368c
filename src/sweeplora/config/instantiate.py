"""Builds the object that a config node names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from sweeplora.errors import UserError


def build(node: Mapping[str, Any]) -> Any:
    """The object of a node's `_target_`, or the function with `_partial_`; lists and mappings are plain Python.

    Hydra's containers would end up in an optimizer's saved state. Raises the UserError that the target raises.
    """
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise

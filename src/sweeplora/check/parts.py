"""The parts of a configuration that are cheap to build, each built once per frozen group."""

from __future__ import annotations

import functools
from typing import Any

from hydra.utils import get_object

from sweeplora.config.rules import arguments
from sweeplora.experiment import Group
from sweeplora.launch.launcher import Launcher
from sweeplora.launch.slot import Slot


@functools.lru_cache(maxsize=256)
def built(node: Group) -> Any:
    """The object of a group whose target imports nothing heavy. Raises the UserError that the target raises."""
    return get_object(node["_target_"])(**arguments(node))


@functools.lru_cache(maxsize=8)
def slot_of(node: Group) -> Slot:
    """What a launcher gives its trainings: device, processes, threads. Raises UserError if it cannot provide them."""
    launcher: Launcher = built(node)
    return launcher.plan(1).slots[0]

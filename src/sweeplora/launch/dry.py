"""The launcher that starts nothing: a command line that chooses it is told instead of run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeplora.launch.launcher import Started
from sweeplora.launch.local import Local
from sweeplora.launch.slot import Slot
from sweeplora.rundir.folder import RunDir


class Dry(Local):
    """Target of conf/launcher/dry.yaml: plans what the local launcher would, and starts nothing of it."""

    def preload(self, most: int, module: str, config: Mapping[str, Any]) -> None:
        """Begin nothing."""

    def start(self, run: RunDir, slot: Slot, module: str) -> Started:
        """Fail: whoever starts trainings tells what a dry launcher would do before."""
        raise AssertionError(f"a dry launcher starts no training, nor the one of {run.path}")

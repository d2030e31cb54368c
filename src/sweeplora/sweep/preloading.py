"""The launcher of a command, made before its configuration is checked, so that imports and check go on at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from hydra.errors import HydraException
from hydra.utils import instantiate

from sweeplora.errors import UserError
from sweeplora.launch.launcher import TRAINING, Launcher, Preloads

_MANY = 1_000_000


class Trains(NamedTuple):
    """The module that trains, and the launcher if it was made already."""

    module: str = TRAINING
    launcher: Launcher | None = None


def launcher_of(config: Mapping[str, Any]) -> Launcher:
    """The launcher that a configuration names."""
    made: Launcher = instantiate(config["launcher"])
    return made


@contextmanager
def preloading(config: Mapping[str, Any] | None, searches: bool, module: str) -> Iterator[Launcher | None]:
    """The launcher of a configuration, with its imports under way; None if there is none yet.

    What is wrong with the launcher is left to the check. What still runs at the end is ended.
    """
    launcher = None if config is None else _preloaded(config, _trials(config) if searches else 1, module)
    try:
        yield launcher
    finally:
        if launcher is not None:
            launcher.close(kill=True)


def _preloaded(config: Mapping[str, Any], most: int, module: str) -> Launcher | None:
    try:
        launcher = launcher_of(config)
        if isinstance(launcher, Preloads):
            launcher.preload(most, module, config)
    except (UserError, HydraException, TypeError, ValueError, ArithmeticError, LookupError):
        return None
    return launcher


def _trials(config: Mapping[str, Any]) -> int:
    trials = config["sweep"]["trials"]
    return trials if isinstance(trials, int) and trials > 0 else _MANY

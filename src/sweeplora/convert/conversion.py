"""Converts one training command to entries that say what becomes of each of its words."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from sweeplora.convert import groups
from sweeplora.convert.entries import Entry
from sweeplora.convert.group_order import group_order
from sweeplora.convert.reading.given import Given, read
from sweeplora.convert.reading.launch import Command, launched
from sweeplora.convert.reading.metadata_file import LinkedImages


@dataclass(frozen=True)
class Conversion:
    """A command and what became of it."""

    command: Command
    entries: tuple[Entry, ...]
    links: tuple[LinkedImages, ...] = ()

    @property
    def name(self) -> str:
        """The name of its weights."""
        return str(next(entry.value for entry in self.entries if entry.key == "name"))

    def of(self, *fates: str) -> list[Entry]:
        """The entries with one of these fates."""
        return [entry for entry in self.entries if entry.fate in fates]


def convert(command: Command) -> Conversion:
    """Convert a command. Raises UserError for the first part that cannot be converted or that sd-scripts refuses."""
    processes, launcher = launched(command.launcher, command.files)
    given = read(command.family, processes, command.words, command.files)
    entries = [entry for group in _groups() for entry in group(given)]
    lost = unaccounted(given, [*entries, *given.remarks])
    assert not lost, f"flags without a fate: {', '.join(lost)}"
    return Conversion(command, (*launcher, *command.remarks, *given.remarks, *entries), tuple(given.links))


def _groups() -> list[Callable[[Given], list[Entry]]]:
    """The `entries` functions of groups/, in the order of conf/config.yaml; flags without a key come last."""
    order = group_order()
    names = [module.name for module in pkgutil.iter_modules(groups.__path__)]
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return [import_module(f"{groups.__name__}.{name}").entries for name in names]


def unaccounted(given: Given, entries: list[Entry]) -> list[str]:
    """Flags that were given and that no entry mentions."""
    told = {entry.flag.partition(" ")[0] for entry in entries}
    return [name for name in given.values if f"--{name}" not in told]

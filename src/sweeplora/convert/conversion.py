"""One training command into entries: what becomes of every word of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sweeplora.convert.entries import Entry
from sweeplora.convert.groups.data import data
from sweeplora.convert.groups.losses import loss, noise
from sweeplora.convert.groups.model import model
from sweeplora.convert.groups.network import network
from sweeplora.convert.groups.optimizer import optimizer, rates
from sweeplora.convert.groups.others import others
from sweeplora.convert.groups.previews import log, previews
from sweeplora.convert.groups.schedule import schedule
from sweeplora.convert.groups.training import training
from sweeplora.convert.reading.given import Given, read
from sweeplora.convert.reading.launch import Command, launched

_AREAS: tuple[Callable[[Given], list[Entry]], ...] = (
    *(model, data, network, optimizer, rates, schedule, noise, loss, training, previews, log, others),
)


@dataclass(frozen=True)
class Conversion:
    """A command and all that became of it."""

    command: Command
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """What its weights are called."""
        return str(next(entry.value for entry in self.entries if entry.key == "name"))

    def of(self, *fates: str) -> list[Entry]:
        """The entries with one of these fates."""
        return [entry for entry in self.entries if entry.fate in fates]


def convert(command: Command) -> Conversion:
    """Raises UserError for the first thing that cannot be converted, or that the reference itself refuses."""
    processes, launcher = launched(command.launcher)
    given = read(command.family, processes, command.words)
    entries = [entry for area in _AREAS for entry in area(given)]
    lost = unaccounted(given, [*entries, *given.remarks])
    assert not lost, f"flags without a fate: {', '.join(lost)}"
    return Conversion(command, (*launcher, *given.remarks, *entries))


def unaccounted(given: Given, entries: list[Entry]) -> list[str]:
    """Flags that were given and of which nothing is said."""
    told = {entry.flag.partition(" ")[0] for entry in entries}
    return [name for name in given.values if f"--{name}" not in told]

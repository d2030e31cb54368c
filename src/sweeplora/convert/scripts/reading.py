"""What was read from a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeplora.convert.entries import Entry
from sweeplora.convert.scripts.text import Script, ScriptCommand


@dataclass(frozen=True)
class Reading:
    """A script's commands, the line of an `exit` that ends it, functions that are never called, and remarks on it."""

    script: Script
    commands: Sequence[ScriptCommand]
    stopped: int | None = None
    uncalled: Sequence[str] = ()
    remarks: Sequence[Entry] = ()

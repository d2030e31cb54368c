"""What is known at a point in a PowerShell script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sweeplora.convert.scripts.powershell.values import Value, unknown


@dataclass(frozen=True)
class Function:
    """A function: its parameters' text and its body's, with the line it begins in."""

    parameters: str
    body: str
    line: int


@dataclass
class Scope:
    """Variables by their names in lower case (`env:name` too), functions, and the folder."""

    variables: dict[str, Value] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    folder: str = ""

    def copy(self) -> Scope:
        """An independent copy of the state."""
        return Scope(dict(self.variables), dict(self.functions), self.folder)

    def become(self, other: Scope) -> None:
        """Take another state over."""
        self.variables, self.functions, self.folder = other.variables, other.functions, other.folder

    def lose(self, name: str, why: str, line: int) -> None:
        """Make a variable's value unknown."""
        self.variables[name] = unknown(f"${name}", why, line)


def merge(scopes: Sequence[Scope], why: str, line: int) -> Scope:
    """Merge possible states into one: what differs between them is unknown."""
    merged = scopes[0].copy()
    for name in dict.fromkeys(name for scope in scopes for name in scope.variables):
        values = [(scope.variables.get(name), name in scope.variables) for scope in scopes]
        if any(value != values[0] or type(value[0]) is not type(values[0][0]) for value in values):
            merged.lose(name, why, line)
    return merged

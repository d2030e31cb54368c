"""What is known at a point in a script: variables, functions, the folder, written files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeplora.convert.scripts.bash.syntax import Function
from sweeplora.convert.scripts.text import Text, Unknown


@dataclass(frozen=True)
class Variable:
    """A variable's texts by index; a plain variable has only index "0". `unknown`: why its value is unknown."""

    items: tuple[tuple[str, Text], ...] = ()
    is_array: bool = False
    unknown: Unknown | None = None

    @property
    def texts(self) -> list[Text]:
        """The texts in order."""
        return [text for _, text in self.items]


def plain(text: Text) -> Variable:
    """A variable of one text."""
    return Variable((("0", text),))


def array(texts: list[Text]) -> Variable:
    """A list of texts."""
    return Variable(tuple((str(index), text) for index, text in enumerate(texts)), is_array=True)


_OF_THE_SHELL = ("PWD", "OLDPWD", "RANDOM", "SECONDS", "LINENO", "SHLVL", "BASHPID", "PPID", "HOSTNAME", "EPOCHSECONDS")


@dataclass
class Scope:
    """The state that statements read and change.

    `removed`: environment variables that were unset. `folder`: "" is where the script is started. `sourced`: why a
    variable that is never set may still have a value. `exported`: what a child shell sees.
    """

    environment: Mapping[str, str]
    variables: dict[str, Variable] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    functions: dict[str, Function] = field(default_factory=dict)
    positional: list[Text] = field(default_factory=list)
    folder: str = ""
    files: dict[str, Text] = field(default_factory=dict)
    sourced: Unknown | None = None
    exported: frozenset[str] = frozenset()

    def child(self) -> Scope:
        """The scope of a child shell: exported variables only."""
        inner = self.copy()
        inner.variables = {name: value for name, value in self.variables.items() if name in self.exported}
        inner.functions = {}
        return inner

    def copy(self) -> Scope:
        """An independent copy of the state."""
        return Scope(
            self.environment,
            dict(self.variables),
            self.removed,
            dict(self.functions),
            list(self.positional),
            self.folder,
            dict(self.files),
            self.sourced,
            self.exported,
        )

    def become(self, other: Scope) -> None:
        """Take another state over."""
        self.variables, self.removed, self.functions = other.variables, other.removed, other.functions
        self.exported = other.exported
        self.positional, self.folder, self.files, self.sourced = (
            other.positional,
            other.folder,
            other.files,
            other.sourced,
        )

    def get(self, name: str) -> Variable | None:
        """A variable of the script or the environment; None if it is not set."""
        if name in self.variables:
            return self.variables[name]
        if name in _OF_THE_SHELL or name in self.removed or name not in self.environment:
            return None
        return plain(Text(self.environment[name], outside=(name,)))

    def set(self, name: str, variable: Variable) -> None:
        """Give a variable a value."""
        self.variables[name] = variable

    def lose(self, name: str, why: str, line: int) -> None:
        """Make a variable's value unknown."""
        self.variables[name] = Variable(unknown=Unknown(f"${name}", why, line))

    def unset(self, name: str) -> None:
        """Remove a variable."""
        self.variables.pop(name, None)
        self.removed |= {name}


def merge(scopes: list[Scope], why: str, line: int) -> Scope:
    """Merge possible states into one: what differs between them is unknown."""
    merged = scopes[0].copy()
    names = dict.fromkeys(name for scope in scopes for name in scope.variables)
    for name in names:
        if any(scope.variables.get(name) != scopes[0].variables.get(name) for scope in scopes):
            merged.lose(name, why, line)
    for other in scopes[1:]:
        merged.functions.update(other.functions)
        merged.files = {path: text for path, text in merged.files.items() if other.files.get(path) == text}
        merged.sourced = merged.sourced or other.sourced
        merged.removed |= other.removed
        merged.exported |= other.exported
        if other.folder != merged.folder:
            merged.folder = merged.folder if merged.folder.startswith(other.folder) else other.folder
    return merged


def lose_changed(scope: Scope, before: Mapping[str, Variable], why: str, line: int) -> None:
    """Mark as unknown what has a different value than before."""
    for name in dict.fromkeys([*scope.variables, *before]):
        if scope.variables.get(name) != before.get(name):
            scope.lose(name, why, line)

"""What is known at a point in a batch file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sweeplora.convert.scripts.batch.marks import Marks
from sweeplora.convert.scripts.text import Unknown


@dataclass
class State:
    """Variables by their names in lower case, with the folder, and whether `!NAME!` is expanded."""

    variables: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    delayed: bool = False
    outer: list[dict[str, str]] = field(default_factory=list)

    def copy(self) -> State:
        """An independent copy of the state."""
        return State(dict(self.variables), self.folder, self.delayed, [dict(one) for one in self.outer])

    def become(self, other: State) -> None:
        """Take another state over."""
        self.variables, self.folder, self.delayed, self.outer = (
            other.variables,
            other.folder,
            other.delayed,
            other.outer,
        )


def merge(states: Sequence[State], why: str, line: int, marks: Marks) -> State:
    """Merge possible states into one: what differs between them is unknown."""
    merged = states[0].copy()
    for name in dict.fromkeys(name for state in states for name in state.variables):
        if any(state.variables.get(name) != states[0].variables.get(name) for state in states):
            merged.variables[name] = marks.mark(Unknown(f"%{name}%", why, line))
    merged.delayed = any(state.delayed for state in states)
    return merged

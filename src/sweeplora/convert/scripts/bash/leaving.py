"""Ways to leave a script, a function or a loop before its end."""

from __future__ import annotations

from sweeplora.convert.scripts.bash.conditions import Verdict


class Ended(Exception):
    """`exit`, on this line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class Returned(Exception):
    """`return` of a function."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class LoopLeft(Exception):
    """`break` or `continue`."""

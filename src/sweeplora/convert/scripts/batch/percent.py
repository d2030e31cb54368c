"""`%NAME%`, `%1`, `%~dp0` and `!NAME!` of a batch file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sweeplora.convert.scripts.batch.marks import OUTSIDE, Marks
from sweeplora.convert.scripts.batch.state import State
from sweeplora.convert.scripts.text import Script, Unknown

_PERCENT = re.compile(r"%%|%\*|%(~[a-z$:]*)?(\d)|%([^%\s:=][^%:\n]*)(?::([^%\n]*))?%|%", re.IGNORECASE)
_DELAYED = re.compile(r"!([^!\s:=][^!:\n]*)(?::([^!\n]*))?!")
_CHANGING = ("cd", "date", "time", "random", "errorlevel", "cmdcmdline")
_NOT_GIVEN = "is an argument of the script, and none is given when it is converted"
_NOT_DELAYED = "is expanded only after `setlocal EnableDelayedExpansion`"


@dataclass(frozen=True)
class Expansion:
    """What expanding needs: the script with its environment, the marks of what is unknown, a call's arguments."""

    script: Script
    marks: Marks
    arguments: Sequence[str] = ()

    def line(self, text: str, state: State, number: int) -> str:
        """A line with everything between percent signs put in."""

        def put(found: re.Match[str]) -> str:
            if found[0] == "%%":
                return "%"
            if found[0] == "%*":
                return " ".join(self.arguments)
            if found[2] is not None:
                return self._argument(found[0], (found[1] or "").lower(), int(found[2]), number)
            if found[3] is not None:
                return self._variable(found, found[3], found[4], state, number)
            return ""

        return _PERCENT.sub(put, text)

    def delayed(self, text: str, state: State, number: int) -> str:
        """A command with everything between exclamation marks put in, as it is run."""

        def put(found: re.Match[str]) -> str:
            if not state.delayed:
                return self.marks.mark(Unknown(found[0], _NOT_DELAYED, number))
            return self._variable(found, found[1], found[2], state, number)

        return _DELAYED.sub(put, text)

    def _argument(self, written: str, modifiers: str, number: int, line: int) -> str:
        if number > 0:
            if number <= len(self.arguments):
                value = self.arguments[number - 1]
                return value.strip('"') if modifiers else value
            return self.marks.mark(Unknown(written, _NOT_GIVEN, line))
        file = self.script.file.resolve() if self.script.file is not None else None
        if file is None:
            why = "is the script's own file, and the text was not read from one"
            return self.marks.mark(Unknown(written, why, line))
        parts = {"~dp": f"{file.parent}{os.sep}", "~n": file.stem, "~nx": file.name, "~x": file.suffix}
        return parts.get(modifiers, str(file))

    def _variable(self, found: re.Match[str], name: str, rest: str | None, state: State, line: int) -> str:
        key = name.lower()
        value = state.variables.get(key)
        if value is None and key not in _CHANGING:
            known = {known.lower(): known for known in self.script.environment}
            value = OUTSIDE + self.script.environment[known[key]] if key in known else None
        if value is None:
            changing = "differs from run to run" if key in _CHANGING else "is set nowhere in the script"
            return self.marks.mark(Unknown(found[0], changing, line))
        unknown = self.marks.first(value)
        if rest is None or not rest:
            if unknown is not None and unknown.name != found[0]:
                return value.replace(self.marks.mark(unknown), self.marks.mark(_renamed(unknown, found[0], value)))
            return value
        changed = _changed(value, rest) if unknown is None else None
        if changed is None:
            return self.marks.mark(Unknown(found[0], "is a part of a value that only running can tell", line))
        return changed


def _renamed(unknown: Unknown, written: str, value: str) -> Unknown:
    """The unknown value under the name it is used by, where it is the whole of a variable."""
    return Unknown(written, unknown.why, unknown.line) if len(value) == 1 and unknown.name[0] in "%!" else unknown


def _changed(value: str, rest: str) -> str | None:
    """What `%NAME:~start,length%` or `%NAME:old=new%` makes of a value."""
    part = re.fullmatch(r"~(-?\d+)(?:,(-?\d+))?", rest)
    if part:
        start = int(part[1])
        cut = value[start:] if start >= 0 or -start <= len(value) else value
        return cut if part[2] is None else cut[: int(part[2])]
    old, sign, new = rest.partition("=")
    if not sign or not old or old.startswith(("~", "*")):
        return None
    return re.sub(re.escape(old), lambda _: new, value, flags=re.IGNORECASE)

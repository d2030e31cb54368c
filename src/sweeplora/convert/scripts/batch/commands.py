"""Commands of a batch file: those cmd runs itself, and those that are started."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeplora.convert.scripts.batch.grammar import Command, Incomplete, Parser
from sweeplora.convert.scripts.batch.lines import moved
from sweeplora.convert.scripts.batch.percent import Expansion
from sweeplora.convert.scripts.batch.state import State
from sweeplora.convert.scripts.batch.words import plain, split
from sweeplora.convert.scripts.text import ScriptCommand, Unknown

if TYPE_CHECKING:
    from sweeplora.convert.scripts.batch.interpreter import Interpreter

_HARMLESS = re.compile(r"(activate(\.bat)?|conda(\.bat|\.exe)?|vcvars\w*\.bat)\"?$", re.IGNORECASE)
_SAID = ("echo", "title", "pause", "color", "cls", "timeout", "chcp", "ver", "endlocal", "popd")


class Jumped(Exception):
    """`goto label`."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


class Called(Exception):
    """The end of a subroutine or of the file: `exit /b`, `goto :eof`."""


class Exited(Exception):
    """`exit`."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


@dataclass(frozen=True)
class Commands:
    """Runs the commands of the statement at `index`; jumps and ends are collected for the whole file."""

    interpreter: Interpreter
    expansion: Expansion
    index: int
    jumps: dict[int, list[State]]
    ends: list[State]

    def command(self, node: Command, state: State) -> None:
        """Run one command."""
        text = self.expansion.delayed(node.text, state, node.line).strip(" \t@")
        found = re.match(r"[A-Za-z]+(?=[\s.:=,;/(\\]|$)", text)
        name = found[0].lower() if found else ""
        rest = text[len(name) :]
        own = _OWN.get(name)
        if own is not None and not rest.startswith(("\\", ":\\")):
            own(self, rest, node, state)
        elif name not in _SAID:
            self._start(text, node, state)

    def _start(self, text: str, node: Command, state: State) -> None:
        words = tuple(self.expansion.marks.text(word) for word in split(plain(text)))
        if words:
            folder = state.folder
            self.interpreter.commands.append(ScriptCommand(words, node.line, folder, node.cut))

    def set(self, rest: str, node: Command, state: State) -> None:
        """`set NAME=value`, `set "NAME=value"`, `set /p`, `set /a`."""
        text = rest.lstrip()
        option = re.match(r"/([ap])\s*", text, re.IGNORECASE)
        text = text[option.end() :] if option else text
        in_quotes = text.startswith('"') and '"' in text[1:]
        text = text[1 : text.rindex('"')] if in_quotes else plain(text)
        name, sign, value = text.partition("=")
        key = name.lower().lstrip()
        if not sign or not key:
            return
        if option:
            key = key.rstrip("+-*/ ")
            counted = option[1].lower() == "a" and re.fullmatch(r"\s*-?(0|[1-9]\d*)\s*", value)
            why = "is computed by `set /a`" if option[1].lower() == "a" else "is typed in when the script runs"
            if counted and key == name.lower().strip():
                value = value.strip()
            else:
                value = self.expansion.marks.mark(Unknown(f"%{name.strip()}%", why, node.line))
        state.variables[key] = value

    def cd(self, rest: str, node: Command, state: State) -> None:
        """`cd /d path`."""
        path = re.sub(r"^\s*/d\b", "", rest, flags=re.IGNORECASE).strip().strip('"')
        if path and self.expansion.marks.first(path) is None:
            state.folder = moved(state.folder, self.expansion.marks.text(path).text)

    def goto(self, rest: str, node: Command, state: State) -> None:
        """`goto label`, `goto :eof`."""
        label = re.match(r"\s*:?([^\s&|]*)", rest)
        name = label[1].lower() if label else ""
        if name == "eof":
            raise Called
        raise Jumped(name)

    def exit(self, rest: str, node: Command, state: State) -> None:
        """`exit`, `exit /b`."""
        if rest.lower().split()[:1] == ["/b"]:
            raise Called
        raise Exited(node.line)

    def call(self, rest: str, node: Command, state: State) -> None:
        """`call :label`, `call other.bat`, or any command."""
        text = rest.strip()
        words = split(plain(text))
        if not words:
            return
        if text.startswith(":"):
            self.interpreter.subroutine(words[0][1:].lower(), state, words[1:], node.line)
        elif re.search(r"\.(bat|cmd)$", words[0], re.IGNORECASE) and not _HARMLESS.search(words[0]):
            self._taint(words[0], node, state)
        elif not _HARMLESS.search(words[0]):
            self.command(Command(text, node.line, node.cut), state)

    def _taint(self, file: str, node: Command, state: State) -> None:
        why = (
            f"may be set by {self.expansion.marks.text(file).text}, which line {node.line} calls and which is not read"
        )
        for name in state.variables:
            state.variables[name] = self.expansion.marks.mark(Unknown(f"%{name}%", why, node.line))

    def cmd(self, rest: str, node: Command, state: State) -> None:
        """`cmd /k "..."`."""
        found = re.match(r"(?:\.exe)?\s*(?:/[a-z]+(?::\w+)?\s*)*", rest, re.IGNORECASE)
        text = rest[found.end() :].strip() if found else ""
        if text.startswith('"') and text.endswith('"') and len(text) > 1:
            text = text[1:-1]
        try:
            nodes = Parser(text, node.line).statements()
        except Incomplete:
            return
        self.interpreter.nodes(nodes, state.copy(), self)

    def start(self, rest: str, node: Command, state: State) -> None:
        """`start "title" /wait command`."""
        text = re.sub(r'^\s*("[^"]*"\s*)?((/d\s+("[^"]*"|\S+)|/\w+)\s+)*', "", rest, flags=re.IGNORECASE)
        if text:
            self.command(Command(text, node.line, node.cut), state)

    def setlocal(self, rest: str, node: Command, state: State) -> None:
        """`setlocal EnableDelayedExpansion`."""
        state.delayed = state.delayed or "enabledelayedexpansion" in rest.lower()


_OWN: dict[str, Callable[[Commands, str, Command, State], None]] = {
    "set": Commands.set,
    **dict.fromkeys(("cd", "chdir", "pushd"), Commands.cd),
    "goto": Commands.goto,
    "exit": Commands.exit,
    "call": Commands.call,
    "cmd": Commands.cmd,
    "start": Commands.start,
    "setlocal": Commands.setlocal,
}

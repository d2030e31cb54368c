"""Evaluates a PowerShell script's statements in order: what they set, and the commands they would start."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from sweeplora.convert.scripts.powershell.assignments import Assignments, is_command
from sweeplora.convert.scripts.powershell.cursor import Cursor
from sweeplora.convert.scripts.powershell.expressions import Expressions
from sweeplora.convert.scripts.powershell.scope import Function, Scope, merge
from sweeplora.convert.scripts.powershell.values import Value, open_on, truth
from sweeplora.convert.scripts.powershell.words import Words
from sweeplora.convert.scripts.text import Script, ScriptCommand, Text

_TARGET = r"(?:\[[\w.\[\]]+\]\s*)?\$(?:\{([^}]+)\}|([\w:]+))\s*(\+=|-=|\*=|/=|=)(?!=)"
_ADDED = r"(?:\[void\]\s*)?\$(\w+)\.(Add|AddRange)(?=\()"
_KEYWORD = r"(if|foreach|for|while|do|switch|function|filter|param|try|return|exit|break|continue)(?=[\s({]|$)"
_HARMLESS = re.compile(r"(activate(\.ps1)?|profile\.ps1)$", re.IGNORECASE)
_MOST_STATEMENTS = 20_000
_DEEPEST_CALL = 10


class Left(Exception):
    """`exit`, `return`, `break`: the rest is not run; `line` is where an `exit` stands."""

    def __init__(self, line: int | None) -> None:
        super().__init__(line)
        self.line = line


class Interpreter:
    """Evaluates one script; `commands` are those it would start."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.commands: list[ScriptCommand] = []
        self.called: set[str] = set()
        self.stopped: int | None = None
        self.scope = Scope()
        self._expressions = Expressions(script)
        self._assignments = Assignments(self._expressions)
        self._words = Words(self._expressions)
        self._depth = 0
        self._left = _MOST_STATEMENTS

    def run(self) -> None:
        """Evaluate the whole script. Raises UserError for brackets and quotes that are never closed."""
        try:
            self._block(self.script.text, 1, self.scope)
        except Left as left:
            self.stopped = left.line
        except RecursionError as error:
            raise self.script.error(1, self.script.name, "is nested too deeply to be read") from error

    def _block(self, text: str, line: int, scope: Scope) -> None:
        cursor = Cursor(self.script, text, line)
        while True:
            cursor.skip(lines=True)
            if cursor.done:
                return
            self._left -= 1
            if self._left < 0:
                mend = "runs too many commands to be followed; write the training command out"
                raise self.script.error(cursor.line, self.script.name, mend)
            before = cursor.at
            self._statement(cursor, scope)
            cursor.at = max(cursor.at, before + 1)

    def _statement(self, cursor: Cursor, scope: Scope) -> None:
        line = cursor.line
        if found := cursor.match(_KEYWORD):
            self._keyword(found[1].lower(), cursor, scope, line)
        elif found := cursor.match(_TARGET):
            self._assignments.assign((found[1] or found[2]).lower(), found[3], cursor, scope)
        elif found := cursor.match(_ADDED):
            value = self._expressions.whole(cursor.brackets(), scope, line)
            added = value if found[2].lower() == "addrange" and isinstance(value, tuple) else (value,)
            self._assignments.add(found[1].lower(), added, scope, line)
            cursor.skip_statement()
        elif cursor.peek() in "&." and cursor.match(r"[&.](?=\s|\"|'|\$)"):
            self._command(cursor, scope, line)
        elif cursor.peek() in "$[(\"'@{":
            self._bare(cursor, scope, line)
        else:
            self._command(cursor, scope, line)

    def _bare(self, cursor: Cursor, scope: Scope, line: int) -> None:
        """An expression that stands alone; an element or a member that it sets is unknown afterwards."""
        start = cursor.at
        self._expressions.expression(cursor, scope)
        changed = re.match(r"\$(\w+)[.\[]", cursor.text[start:])
        if changed:
            scope.lose(changed[1].lower(), "is changed by a part of it", line)
        cursor.skip_statement()

    def _keyword(self, word: str, cursor: Cursor, scope: Scope, line: int) -> None:
        match word:
            case "if":
                self._if(cursor, scope, line)
            case "foreach" | "for" | "while" | "switch" | "do":
                self._loop(word, cursor, scope, line)
            case "function" | "filter":
                self._function(cursor, scope, line)
            case "param":
                cursor.skip()
                self._parameters(cursor.brackets() if cursor.peek() == "(" else "", scope, line)
            case "try":
                self._block(cursor.braces(), line, scope)
                while cursor.match(r"\s*(catch|finally)\b[^{]*(?=\{)"):
                    cursor.brackets()
            case "exit":
                raise Left(line)
            case _:
                raise Left(None)

    def _if(self, cursor: Cursor, scope: Scope, line: int) -> None:
        branches: list[tuple[str, str, int]] = []
        otherwise: tuple[str, int] = ("", line)
        while True:
            condition = cursor.condition()
            cursor.skip(lines=True)
            at = cursor.line
            branches.append((condition, cursor.braces(), at))
            if cursor.match(r"[\s]*elseif\b"):
                continue
            if cursor.match(r"[\s]*else\b"):
                cursor.skip(lines=True)
                at = cursor.line
                otherwise = (cursor.braces(), at)
            break
        ends: list[Scope] = []
        asked: list[str] = []
        for condition, body, at in branches:
            value = self._expressions.whole(condition, scope, line) if not is_command(condition) else None
            on = f"`{condition.strip()[:40]}`" if is_command(condition) else open_on(value)
            if on:
                asked.append(on)
                self._attempt(body, at, scope.copy(), ends)
            elif truth(value):
                otherwise = (body, at)
                break
        if not asked:
            self._block(*otherwise, scope)
            return
        self._attempt(*otherwise, scope.copy(), ends)
        if not ends:
            raise Left(line)
        scope.become(merge(ends, f"is set depending on {', '.join(asked)} in the `if` on line {line}", line))

    def _attempt(self, body: str, line: int, scope: Scope, ends: list[Scope]) -> None:
        try:
            self._block(body, line, scope)
        except Left:
            return
        ends.append(scope)

    def _loop(self, word: str, cursor: Cursor, scope: Scope, line: int) -> None:
        head = "" if word == "do" else cursor.condition()
        cursor.skip(lines=True)
        at = cursor.line
        body = cursor.braces()
        if word == "do":
            cursor.match(r"\s*(while|until)\s*(?=\()")
            head = cursor.brackets() if cursor.peek() == "(" else ""
        if word == "switch":
            body = re.sub(r"(?m)^\s*(\"[^\"]*\"|'[^']*'|[\w.-]+)\s*\{", "if ($undecided_case) {", body)
        why = f"is set in the {word} on line {line}"
        trial, kept = scope.copy(), list(self.commands)
        self._attempt(body, at, trial, [])
        self.commands[:] = kept
        scope.become(merge([scope, trial], why, line))
        if found := re.match(r"\s*\$(\w+)\s+in\b(.*)", head, re.DOTALL | re.IGNORECASE):
            scope.lose(found[1].lower(), f"takes the values of the loop on line {line}:{found[2][:40]}", line)
        elif found := re.match(r"\s*\$(\w+)\s*=", head):
            scope.lose(found[1].lower(), why, line)
        self._attempt(body, at, scope.copy(), [])

    def _function(self, cursor: Cursor, scope: Scope, line: int) -> None:
        found = cursor.match(r"\s*([\w:-]+)\s*")
        parameters = cursor.brackets() if cursor.peek() == "(" else ""
        cursor.skip(lines=True)
        at = cursor.line
        body = cursor.braces()
        if found:
            scope.functions[found[1].lower()] = Function(parameters, body, at if body else line)

    def _parameters(self, text: str, scope: Scope, line: int, given: Sequence[Value] = ()) -> None:
        """`param(...)`: what is given, then the defaults; others have no value."""
        cursor, position = Cursor(self.script, text, line), 0
        while not cursor.done:
            found = cursor.match(r"[\s,]*(?:\[[^\]]*\]+\s*)*\$(\w+)\s*(=)?")
            if not found:
                cursor.at += 1
                continue
            name = found[1].lower()
            value = self._expressions.operand(cursor, scope) if found[2] else None
            if position < len(given):
                scope.variables[name] = given[position]
            elif found[2]:
                scope.variables[name] = value
            else:
                why = "is a parameter of the script, and none is given when it is converted"
                scope.lose(name, why, line)
            position += 1

    def _command(self, cursor: Cursor, scope: Scope, line: int) -> None:
        words = self._words.words(cursor, scope)
        self._skip_pipeline(cursor)
        if not words:
            return
        name = words[0].text.lower() if not words[0].unknowns else ""
        if name in ("cd", "set-location", "push-location", "chdir", "sl") and len(words) > 1:
            target = words[-1]
            if not target.unknowns:
                path = target.text.replace("\\", "/")
                scope.folder = posixpath.normpath(posixpath.join(scope.folder, path))
        elif name in scope.functions:
            self._call(name, words[1:], scope)
        elif name.endswith(".ps1") and not _HARMLESS.search(name):
            self._taint(words[0].text, scope, line)
        else:
            self.commands.append(ScriptCommand(tuple(words), line, scope.folder))

    def _call(self, name: str, words: Sequence[Text], scope: Scope) -> None:
        self.called.add(name)
        function = scope.functions[name]
        self._depth += 1
        if self._depth > _DEEPEST_CALL:
            raise self.script.error(function.line, name, "calls itself; write the training command out")
        inner = scope.copy()
        body = function.body
        found = re.match(r"\s*param\s*(?=\()", body, re.IGNORECASE)
        parameters = function.parameters
        if found:
            cursor = Cursor(self.script, body, function.line)
            cursor.at = found.end()
            parameters, body = cursor.brackets(), body[cursor.at :]
        self._parameters(parameters, inner, function.line, words)
        try:
            self._block(body, function.line, inner)
        except Left as left:
            if left.line is not None:
                raise
        finally:
            self._depth -= 1

    def _taint(self, file: str, scope: Scope, line: int) -> None:
        why = f"may be set by {file}, which line {line} runs and which is not read"
        for name in list(scope.variables):
            scope.lose(name, why, line)

    def _skip_pipeline(self, cursor: Cursor) -> None:
        cursor.skip()
        if not cursor.done and cursor.peek() not in "\n;}":
            cursor.skip_statement()

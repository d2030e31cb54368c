"""Evaluates statements in order: what they set, which branch they take, and the commands they would start."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from sweeplora.convert.scripts.bash import builtins, conditions, flow
from sweeplora.convert.scripts.bash.arithmetic import assigned, number
from sweeplora.convert.scripts.bash.conditions import Undecided, Verdict, negate
from sweeplora.convert.scripts.bash.cursor import Cursor
from sweeplora.convert.scripts.bash.expand import Expander
from sweeplora.convert.scripts.bash.grammar import parse
from sweeplora.convert.scripts.bash.leaving import Ended, LoopLeft, Returned
from sweeplora.convert.scripts.bash.output import captured
from sweeplora.convert.scripts.bash.scope import Scope, Variable, array, lose_changed, plain
from sweeplora.convert.scripts.bash.syntax import (
    AndOr,
    Assignment,
    Case,
    Function,
    Group,
    If,
    Let,
    Literal,
    Loop,
    Node,
    Pipeline,
    Redirection,
    Simple,
    Substitution,
    Test,
)
from sweeplora.convert.scripts.bash.words import read_quoted
from sweeplora.convert.scripts.text import Script, ScriptCommand, Text, Unknown, join

_MOST_STATEMENTS = 20_000
_DEEPEST_CALL = 20


class Interpreter:
    """Evaluates one script; `commands` are those it would start, `stopped` the line of an `exit` that always runs."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.locals: list[set[str]] = [set()]
        self.unsure_leave = False
        self.commands: list[ScriptCommand] = []
        self.called: set[str] = set()
        self.sourced: set[Path] = set()
        self.stopped: int | None = None
        self.expander = Expander(script, self._substituted)
        self._left = _MOST_STATEMENTS

    def run_script(self, scope: Scope, text: str | None = None) -> None:
        """Evaluate the whole text. Raises UserError for what bash would not read."""
        try:
            self.run(parse(Cursor(self.script, text)), scope)
        except Ended as ended:
            self.stopped = ended.line
        except (Returned, LoopLeft):
            return
        except RecursionError as error:
            raise self.script.error(1, self.script.name, "is nested too deeply to be read") from error

    def run(self, nodes: Sequence[Node], scope: Scope) -> Verdict:
        """Evaluate statements in order; the verdict is the last one's."""
        verdict: Verdict = True
        for node in nodes:
            verdict = self.node(node, scope)
        return verdict

    def node(self, node: Node, scope: Scope) -> Verdict:
        """Evaluate one statement."""
        self._left -= 1
        if self._left < 0:
            raise self.script.error(
                1, self.script.name, "runs too many commands to be followed; write the training command out"
            )
        match node:
            case Simple():
                return self._simple(node, scope)
            case AndOr():
                return flow.and_or(self, node, scope)
            case Pipeline():
                return self._pipeline(node, scope)
            case If():
                return flow.branches(self, node, scope)
            case Loop():
                return flow.loop(self, node, scope)
            case Case():
                return flow.case(self, node, scope)
            case Function():
                scope.functions[node.name] = node
                return True
            case Group():
                return self._group(node, scope)
            case Test():
                tokens = [
                    token if isinstance(token, str) else self.expander.text(token, scope) for token in node.tokens
                ]
                return conditions.decide(tokens, patterns=True)
            case Let():
                return self.let(node.expression, node.line, scope)

    def let(self, expression: str, line: int, scope: Scope) -> Verdict:
        """`((...))`: decided where it only compares; what it changes is unknown afterwards."""
        changed = assigned(expression)
        for name in changed:
            scope.lose(name, "is changed by arithmetic", line)
        value = number(expression, line, scope)
        return bool(value) if isinstance(value, int) and not changed else Undecided(f"(({expression.strip()}))")

    def assign(self, assignment: Assignment, scope: Scope) -> None:
        """Give the variable its value."""
        name, before = assignment.name, scope.get(assignment.name)
        if before is not None and before.unknown is not None and (assignment.append or assignment.index is not None):
            return
        if assignment.is_array:
            scope.set(name, self._list(assignment, before, scope))
            return
        value = self.expander.text(assignment.value, scope)  # type: ignore[arg-type]
        if assignment.index is not None:
            self._assign_element(assignment, value, before, scope)
        elif assignment.append and before is not None and before.items:
            first, *rest = before.items
            scope.set(name, Variable(((first[0], first[1] + value), *rest), before.is_array))
        else:
            scope.set(name, plain(value))

    def _list(self, assignment: Assignment, before: Variable | None, scope: Scope) -> Variable:
        items = dict(before.items) if assignment.append and before is not None else {}
        keyed = False
        for index, word in assignment.value:  # type: ignore[misc]
            if index is not None:
                keyed = True
                key = self.expander.text((Literal(index.strip("\"'"), True),), scope).text
                items[key] = self.expander.text(word, scope)
                continue
            for text in self.expander.fields(word, scope):
                items[str(len(items))] = text
        return Variable(tuple(items.items()), is_array=True) if keyed or items else array([])

    def _assign_element(self, assignment: Assignment, value: Text, before: Variable | None, scope: Scope) -> None:
        index = (assignment.index or "").strip("\"'")
        items = dict(before.items) if before is not None else {}
        if any(sign in index for sign in "$`") or (not index.isdigit() and scope.get(index) is not None):
            scope.lose(assignment.name, "is set at an index that is not known", assignment.line)
            return
        items[index] = items[index] + value if assignment.append and index in items else value
        ordered = sorted(items, key=int) if all(key.isdigit() for key in items) else list(items)
        scope.set(assignment.name, Variable(tuple((key, items[key]) for key in ordered), is_array=True))

    def _simple(self, node: Simple, scope: Scope) -> Verdict:
        if not node.words:
            for assignment in node.assignments:
                self.assign(assignment, scope)
            return True
        inner = scope.copy() if node.assignments else scope
        words: list[Text] = []
        for word in node.words:
            if isinstance(word, Assignment):
                words.append(Text(word.name))
            else:
                words += self.expander.fields(word, scope)
        for assignment in node.assignments:
            self.assign(assignment, inner)
        if not words:
            return True
        self._write_files(node.redirections, words, scope)
        name = "" if words[0].unknowns else words[0].text
        verdict = builtins.run(self, node, words, scope)
        if verdict is not None:
            return verdict
        if name in scope.functions:
            return self.call(scope.functions[name], words[1:], scope)
        inner_script = builtins.inner_script(words)
        if inner_script is not None:
            builtins.run(self, node, inner_script, scope)
        else:
            self.start(words, node.line, scope, node.cut)
        return True if name in builtins.SUCCEEDING else Undecided(f"`{join(words, ' ').text[:40]}`")

    def start(self, words: Sequence[Text], line: int, scope: Scope, cut: str = "") -> None:
        """Note a command that would be started."""
        filled = tuple(
            Text(w.text, tuple(u if u.line else Unknown(u.name, u.why, line) for u in w.unknowns), w.outside)
            for w in words
        )
        self.commands.append(ScriptCommand(filled, line, scope.folder, cut, dict(scope.files)))

    def call(self, function: Function, arguments: Sequence[Text], scope: Scope) -> Verdict:
        """Call a function with these arguments; its `local` variables end with it."""
        self.called.add(function.name)
        if len(self.locals) > _DEEPEST_CALL:
            raise self.script.error(function.line, function.name, "calls itself; write the training command out")
        before, positional = dict(scope.variables), scope.positional
        scope.positional = list(arguments)
        self.locals.append(set())
        unsure, self.unsure_leave = self.unsure_leave, False
        verdict: Verdict = True
        try:
            verdict = self.node(function.body, scope)
        except Returned as returned:
            verdict = returned.verdict
        finally:
            if self.unsure_leave:
                lose_changed(scope, before, f"is set in {function.name}, which may end before it", function.line)
            self.unsure_leave = unsure
            scope.positional = positional
            for name in self.locals.pop():
                scope.variables.pop(name, None)
                if name in before:
                    scope.variables[name] = before[name]
        return verdict

    def _pipeline(self, node: Pipeline, scope: Scope) -> Verdict:
        if len(node.commands) == 1:
            verdict = self.node(node.commands[0], scope)
            return negate(verdict) if node.negated else verdict
        verdict = True
        for command in node.commands:
            verdict = self._inside(command, scope)
        return negate(verdict) if node.negated else verdict

    def _group(self, node: Group, scope: Scope) -> Verdict:
        if not node.subshell:
            return self.run(node.body, scope)
        inner = scope.copy()
        try:
            return self.run(node.body, inner)
        except Ended:
            return True

    def _inside(self, node: Node, scope: Scope) -> Verdict:
        """Evaluate a part of a pipeline, whose changes stay inside."""
        try:
            return self.node(node, scope.copy())
        except Ended:
            return True

    def _substituted(self, part: Substitution, scope: Scope) -> Text:
        return captured(self, part, scope)

    def _write_files(self, redirections: Sequence[Redirection], words: Sequence[Text], scope: Scope) -> None:
        """Keep what `cat > file <<EOF` or `echo text > file` write."""
        name = words[0].text
        targets = [
            (self.expander.text(one.target, scope), one.operator) for one in redirections if one.operator in (">", ">>")
        ]
        if name == "tee" and len(words) > 1:
            targets.append((words[-1], ">>" if words[1].text == "-a" else ">"))
        for target, operator in targets:
            content = self._content(name, redirections, words, scope)
            path = posixpath.join(scope.folder, target.text)
            if content is None or target.unknowns:
                scope.files.pop(path, None)
                continue
            before = scope.files.get(path, Text()) if operator == ">>" else Text()
            scope.files[path] = before + content

    def _content(
        self, name: str, redirections: Sequence[Redirection], words: Sequence[Text], scope: Scope
    ) -> Text | None:
        for one in redirections:
            if one.operator in ("<<", "<<-") and name in ("cat", "tee"):
                inner = Cursor(self.script, one.body)
                return self.expander.text(read_quoted(inner), scope) if one.expands else Text(one.body)
        return join(words[1:], " ") + Text("\n") if name == "echo" else None

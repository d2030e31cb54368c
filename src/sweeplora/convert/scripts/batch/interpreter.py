"""Evaluates a batch file's lines in order: what they set, where they jump, and the commands they would start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sweeplora.convert.scripts.batch.commands import Called, Commands, Exited, Jumped
from sweeplora.convert.scripts.batch.conditions import Undecided, decide
from sweeplora.convert.scripts.batch.grammar import Block, Command, For, If, Incomplete, Node, Parser
from sweeplora.convert.scripts.batch.lines import logical_lines
from sweeplora.convert.scripts.batch.marks import Marks
from sweeplora.convert.scripts.batch.percent import Expansion
from sweeplora.convert.scripts.batch.state import State, merge
from sweeplora.convert.scripts.text import Script, ScriptCommand, Unknown

_LABEL = re.compile(r"\s*@?:([^:\s&|<>=,;+]+)")
_MOST_LINES = 20_000
_DEEPEST_CALL = 10


class Interpreter:
    """Evaluates one batch file; `commands` are those it would start."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.marks = Marks()
        self.commands: list[ScriptCommand] = []
        self.stopped: int | None = None
        self._lines = logical_lines(script.text)
        self._labels: dict[str, int] = {}
        for index, (_, text) in enumerate(self._lines):
            if found := _LABEL.match(text):
                self._labels.setdefault(found[1].lower(), index)
        self._left = _MOST_LINES
        self._depth = 0

    def run(self) -> None:
        """Evaluate the whole file."""
        try:
            self._follow(0, State(), ())
        except Exited as exited:
            self.stopped = exited.line
        except RecursionError as error:
            raise self.script.error(1, self.script.name, "is nested too deeply to be read") from error

    def _follow(self, start: int, state: State, arguments: Sequence[str]) -> State:
        """Follow the lines from `start` on, both ways at an undecided jump; returns the state at the end."""
        expansion = Expansion(self.script, self.marks, arguments)
        jumps: dict[int, list[State]] = {start: [state]}
        ends: list[State] = []
        while jumps:
            index = min(jumps)
            here: State | None = merge(jumps.pop(index), "depends on a `goto` that is not decided", 0, self.marks)
            while here is not None and index < len(self._lines):
                if index in jumps:
                    why = "depends on a `goto` that is not decided"
                    here = merge([here, *jumps.pop(index)], why, self._lines[index][0], self.marks)
                nodes, following = self._statement(index, here, expansion)
                run = Commands(self, expansion, index, jumps, ends)
                here = self._step(nodes, here, run)
                index = following
            if here is not None:
                ends.append(here)
        return merge(ends, "depends on a `goto` that is not decided", 0, self.marks) if ends else state

    def _step(self, nodes: Sequence[Node], state: State, run: Commands) -> State | None:
        """The state behind some statements; None where they always leave."""
        try:
            self.nodes(nodes, state, run)
        except Jumped as jumped:
            self.jump(jumped.label, state, run)
            return None
        except Called:
            run.ends.append(state)
            return None
        except Exited as exited:
            self.stopped = exited.line
            return None
        return state

    def jump(self, label: str, state: State, run: Commands) -> None:
        """Continue at a label further down; a jump back is a loop, whose first iteration was followed."""
        target = self._labels.get(label)
        if target is None or label == "eof":
            run.ends.append(state.copy())
        elif target > run.index:
            run.jumps.setdefault(target, []).append(state.copy())

    def subroutine(self, label: str, state: State, arguments: Sequence[str], line: int) -> None:
        """`call :label`."""
        target = self._labels.get(label)
        if target is None:
            return
        self._depth += 1
        if self._depth > _DEEPEST_CALL:
            raise self.script.error(line, f"call :{label}", "calls itself; write the training command out")
        state.become(self._follow(target, state, arguments))
        self._depth -= 1

    def nodes(self, nodes: Sequence[Node], state: State, run: Commands) -> None:
        """Evaluate statements in order; what follows `||` may not run, nor what follows a command that may fail."""
        before = ""
        for node in nodes:
            if before == "||":
                self._maybe([node], state, run, "is set after `||`", node.line)
            else:
                self._node(node, state, run)
            before = node.after

    def _node(self, node: Node, state: State, run: Commands) -> None:
        self._left -= 1
        if self._left < 0:
            mend = "runs too many commands to be followed; write the training command out"
            raise self.script.error(node.line, self.script.name, mend)
        match node:
            case Command():
                run.command(node, state)
            case Block():
                self.nodes(node.nodes, state, run)
            case If():
                self._if(node, state, run)
            case For():
                self._for(node, state, run)

    def _if(self, node: If, state: State, run: Commands) -> None:
        verdict = decide(node, state, run.expansion)
        if not isinstance(verdict, Undecided):
            self.nodes(node.body if verdict else node.otherwise, state, run)
            return
        why = f"is set depending on {verdict.on} in the `if` on line {node.line}"
        ends: list[State] = []
        for body in (node.body, node.otherwise):
            taken = state.copy()
            following = self._step(body, taken, run)
            ends += [] if following is None else [following]
        if not ends:
            raise Exited(node.line)
        state.become(merge(ends, why, node.line, self.marks))

    def _maybe(self, nodes: Sequence[Node], state: State, run: Commands, why: str, line: int) -> None:
        taken = state.copy()
        if self._step(nodes, taken, run) is not None:
            state.become(merge([state, taken], why, line, self.marks))

    def _for(self, node: For, state: State, run: Commands) -> None:
        why = f"is set in the loop on line {node.line}"
        mark = self.marks.mark(
            Unknown(f"%%{node.variable}", f"takes the values of the loop on line {node.line}", node.line)
        )
        body = tuple(_filled(one, node.variable, mark) for one in node.body)
        trial, kept = state.copy(), list(self.commands)
        self._step(body, trial, run)
        self.commands[:] = kept
        for name in dict.fromkeys([*trial.variables, *state.variables]):
            if trial.variables.get(name) != state.variables.get(name):
                state.variables[name] = self.marks.mark(Unknown(f"%{name}%", why, node.line))
        self._step(body, state.copy(), run)

    def _statement(self, index: int, state: State, expansion: Expansion) -> tuple[tuple[Node, ...], int]:
        """The statements that begin in a line, with all lines of their blocks; and the line behind them."""
        line, text = self._lines[index]
        chunk = expansion.line(text, state, line)
        following = index + 1
        while True:
            try:
                return Parser(chunk, line).statements(), following
            except Incomplete:
                if following >= len(self._lines):
                    raise self.script.error(line, text.strip()[:40], "a bracket ( is never closed") from None
            number, text = self._lines[following]
            chunk += "\n" * max(1, number - line - chunk.count("\n")) + expansion.line(text, state, number)
            following += 1


def _filled(node: Node, variable: str, mark: str) -> Node:
    """The node with a loop's variable put in."""
    expression = re.compile(rf"%(?:~\w*?)?{variable}(?!\w*%)")

    def put(text: str) -> str:
        return expression.sub(mark, text)

    match node:
        case Command():
            return Command(put(node.text), node.line, node.cut, node.after)
        case Block():
            return Block(tuple(_filled(one, variable, mark) for one in node.nodes), node.line, node.after)
        case For():
            body = tuple(_filled(one, variable, mark) for one in node.body)
            return For(node.variable, body, node.line, node.after)
    body, otherwise = (tuple(_filled(one, variable, mark) for one in nodes) for nodes in (node.body, node.otherwise))
    return replace(node, left=put(node.left), right=put(node.right), body=body, otherwise=otherwise)

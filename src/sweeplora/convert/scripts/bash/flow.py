"""Branches and loops: the decided branch if the script determines it, else all branches."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeplora.convert.scripts.bash.conditions import Undecided, Verdict
from sweeplora.convert.scripts.bash.leaving import Ended, LoopLeft, Returned
from sweeplora.convert.scripts.bash.scope import Scope, lose_changed, merge, plain
from sweeplora.convert.scripts.bash.syntax import AndOr, Case, If, Loop, Node, Simple
from sweeplora.convert.scripts.text import Text

if TYPE_CHECKING:
    from sweeplora.convert.scripts.bash.interpreter import Interpreter


def and_or(interpreter: Interpreter, node: AndOr, scope: Scope) -> Verdict:
    """`left && right`, `left || right`."""
    verdict = interpreter.node(node.left, scope)
    if not isinstance(verdict, Undecided):
        return interpreter.node(node.right, scope) if verdict == (node.operator == "&&") else verdict
    taken = scope.copy()
    line = node.right.line if isinstance(node.right, Simple) else 0
    if _goes_on(interpreter, [node.right], taken):
        scope.become(merge([scope, taken], f"is set after `{node.operator}`, depending on {verdict.on}", line))
    return verdict


def branches(interpreter: Interpreter, node: If, scope: Scope) -> Verdict:
    """`if`: the decided branch, or all that may run; what they set differently is then unknown."""
    ends: list[Scope] = []
    open_on: list[str] = []
    last = node.otherwise
    for (condition, body), raw in zip(node.branches, node.raw, strict=True):
        verdict = interpreter.run(condition, scope)
        if verdict is True:
            last = body
            break
        if isinstance(verdict, Undecided):
            open_on.append(f"`if {raw}`" if verdict.on in raw else f"{verdict.on} in `if {raw}`")
            taken = scope.copy()
            if _goes_on(interpreter, body, taken):
                ends.append(taken)
    if not open_on:
        return interpreter.run(last, scope)
    rest = scope.copy()
    if _goes_on(interpreter, last, rest):
        ends.append(rest)
    _join(scope, ends, f"is set depending on {', '.join(open_on)}", node.line)
    return Undecided(open_on[0])


def case(interpreter: Interpreter, node: Case, scope: Scope) -> Verdict:
    """`case`: the matching item, or all items if the subject or a pattern is unknown."""
    subject = interpreter.expander.text(node.subject, scope)
    patterns = [[interpreter.expander.text(word, scope) for word in words] for words, _ in node.items]
    unknown = [one for group in patterns for one in group if one.unknowns]
    if not subject.unknowns and not subject.outside and not unknown:
        for (_, body), group in zip(node.items, patterns, strict=True):
            if any(fnmatch.fnmatchcase(subject.text, pattern.text) for pattern in group):
                return interpreter.run(body, scope)
        return True
    ends = [] if any(pattern.text == "*" for group in patterns for pattern in group) else [scope.copy()]
    for _, body in node.items:
        taken = scope.copy()
        if _goes_on(interpreter, body, taken):
            ends.append(taken)
    _join(scope, ends, f"is set depending on `case {node.raw}`", node.line)
    return Undecided(node.raw)


def loop(interpreter: Interpreter, node: Loop, scope: Scope) -> Verdict:
    """`for`, `while`, `until`, `select`: what the body changes is unknown unless it runs never or exactly once."""
    values = _values(interpreter, node, scope)
    if values is not None and len(values) < 2 and not any(value.unknowns for value in values):
        return _at_most_once(interpreter, node, values, scope)
    why = f"is set in the loop on line {node.line}"
    if node.keyword in ("while", "until"):
        verdict = interpreter.run(node.condition, scope)
        if verdict is (node.keyword == "until"):
            return True
    before = dict(scope.variables)
    _rehearse(interpreter, node, scope, why)
    if node.name and node.keyword != "for ((":
        scope.lose(node.name, _several(node, values), node.line)
    changed = dict(scope.variables)
    inner = scope.copy()
    _goes_on(interpreter, node.body, inner)
    scope.become(merge([scope, inner], why, node.line))
    for name in {name for name in changed if changed[name] != before.get(name)}:
        scope.variables[name] = changed[name]
    return Undecided(f"the loop on line {node.line}")


def _values(interpreter: Interpreter, node: Loop, scope: Scope) -> list[Text] | None:
    """The values of a `for` variable; None if their number is unknown."""
    if node.keyword != "for":
        return None
    if node.words is None:
        return list(scope.positional)
    return [text for word in node.words for text in interpreter.expander.fields(word, scope)]


def _several(node: Loop, values: Sequence[Text] | None) -> str:
    shown = " ".join(value.text for value in values or [])[:60]
    return f"takes several values in the loop on line {node.line}: {shown}; write the training with one of them"


def _at_most_once(interpreter: Interpreter, node: Loop, values: Sequence[Text], scope: Scope) -> Verdict:
    before = dict(scope.variables)
    unsure, interpreter.unsure_leave = interpreter.unsure_leave, False
    for value in values:
        scope.set(node.name, plain(value))
        try:
            interpreter.run(node.body, scope)
        except LoopLeft:
            break
        finally:
            if interpreter.unsure_leave:
                lose_changed(scope, before, f"is set in the loop on line {node.line}, which may end before", node.line)
            interpreter.unsure_leave = unsure
    return True


def _rehearse(interpreter: Interpreter, node: Loop, scope: Scope, why: str) -> None:
    """Mark what the body changes as unknown, since an earlier iteration may have changed it."""
    trial = scope.copy()
    kept = list(interpreter.commands)
    _goes_on(interpreter, [*node.condition, *node.body], trial)
    interpreter.commands[:] = kept
    lose_changed(trial, scope.variables, why, node.line)
    scope.become(merge([scope, trial], why, node.line))
    if node.keyword == "for ((":
        for name in _names(node.name):
            scope.lose(name, why, node.line)


def _names(expression: str) -> list[str]:
    from sweeplora.convert.scripts.bash.arithmetic import assigned

    return assigned(expression)


def _goes_on(interpreter: Interpreter, nodes: Sequence[Node], scope: Scope) -> bool:
    """Evaluate what may run; False if the script or function ends in it."""
    try:
        interpreter.run(nodes, scope)
    except Ended:
        return False
    except (Returned, LoopLeft):
        interpreter.unsure_leave = True
    return True


def _join(scope: Scope, ends: list[Scope], why: str, line: int) -> None:
    if not ends:
        raise Ended(line)
    scope.become(merge(ends, why, line))

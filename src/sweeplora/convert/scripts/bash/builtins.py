"""Bash builtins, and commands that run the command in their arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeplora.convert.scripts.bash import conditions
from sweeplora.convert.scripts.bash.conditions import Undecided, Verdict
from sweeplora.convert.scripts.bash.cursor import Cursor
from sweeplora.convert.scripts.bash.grammar import parse
from sweeplora.convert.scripts.bash.leaving import Ended, LoopLeft, Returned
from sweeplora.convert.scripts.bash.output import move
from sweeplora.convert.scripts.bash.scope import Scope, Variable
from sweeplora.convert.scripts.bash.syntax import Assignment, Simple
from sweeplora.convert.scripts.decode import decode
from sweeplora.convert.scripts.text import Script, Text, Unknown, join
from sweeplora.errors import UserError

if TYPE_CHECKING:
    from sweeplora.convert.scripts.bash.interpreter import Interpreter

SUCCEEDING = frozenset(
    ("cd", "pushd", "popd", "mkdir", "echo", "printf", "ulimit", "shopt", "pip", "conda", "trap", "wait", "clear")
)
"""Commands that are taken to succeed, so that what follows `&&` runs."""
_HARMLESS = re.compile(r"(activate|conda\.sh|\.?bashrc|\.?profile|\.bash_profile|\.zshrc|\.bash_aliases)$")
"""Files that set up an environment and none of a script's own variables."""
_LARGEST_SOURCE = 1 << 20


@dataclass(frozen=True)
class _Call:
    """One call of a builtin."""

    interpreter: Interpreter
    node: Simple
    name: str
    arguments: list[Text]
    scope: Scope


def run(interpreter: Interpreter, node: Simple, words: Sequence[Text], scope: Scope) -> Verdict | None:
    """The verdict of a builtin; None for any other command."""
    name = "" if words[0].unknowns else words[0].text
    builtin = _BUILTINS.get(name)
    return None if builtin is None else builtin(_Call(interpreter, node, name, list(words[1:]), scope))


def inner_script(words: Sequence[Text]) -> list[Text] | None:
    """The words from `bash -c` on, after a command that runs it: nohup, docker run."""
    for index in range(1, len(words) - 2):
        name = words[index].text.rpartition("/")[2]
        if name in ("bash", "sh", "zsh") and re.fullmatch("-[a-z]*c", words[index + 1].text):
            return [Text(name), *words[index + 1 :]]
    return None


def _test(call: _Call) -> Verdict:
    return conditions.decide(call.arguments[:-1] if call.name == "[" else call.arguments, patterns=False)


def _exit(call: _Call) -> Verdict:
    raise Ended(call.node.line)


def _return(call: _Call) -> Verdict:
    code = call.arguments[0].text if call.arguments else "0"
    raise Returned(code == "0" if code.isdigit() else Undecided(f"return {code}"))


def _leave_loop(call: _Call) -> Verdict:
    raise LoopLeft


def _cd(call: _Call) -> Verdict:
    plain = [word for word in call.arguments if not word.text.startswith("-")]
    if plain:
        move(call.scope, plain[0])
    return True


def _unset(call: _Call) -> Verdict:
    for word in call.arguments:
        call.scope.unset(word.text.partition("[")[0])
    return True


def _printf(call: _Call) -> Verdict | None:
    if len(call.arguments) < 2 or call.arguments[0].text != "-v":
        return None
    call.scope.lose(call.arguments[1].text, "is set by `printf -v`", call.node.line)
    return True


def _let(call: _Call) -> Verdict:
    for word in call.arguments:
        for lost in re.findall(r"[A-Za-z_]\w*", word.text.partition("=")[0]):
            call.scope.lose(lost, "is set by `let`", call.node.line)
    return Undecided("`let`")


def _shift(call: _Call) -> Verdict:
    count = int(call.arguments[0].text) if call.arguments and call.arguments[0].text.isdigit() else 1
    call.scope.positional = call.scope.positional[count:]
    return True


def _set(call: _Call) -> Verdict:
    texts = [word.text for word in call.arguments]
    if "--" in texts:
        call.scope.positional = list(call.arguments[texts.index("--") + 1 :])
    return True


def _read(call: _Call) -> Verdict:
    names = [word.text for word in call.arguments if re.fullmatch(r"[A-Za-z_]\w*", word.text)]
    default = {"read": "REPLY", "getopts": "OPTARG"}.get(call.name, "MAPFILE")
    for variable in [*names, default]:
        call.scope.lose(variable, f"is set by `{call.name}`", call.node.line)
    return Undecided(f"`{call.name}`")


def _declare(call: _Call) -> Verdict:
    options = "".join(word.text for word in call.arguments if word.text.startswith("-"))
    assigned = [word for word in call.node.words if isinstance(word, Assignment)]
    if call.name == "export" or "x" in options:
        names = [word.text for word in call.arguments if word.text.isidentifier()]
        call.scope.exported |= frozenset(names)
    for word in assigned:
        if call.name == "local":
            call.interpreter.locals[-1].add(word.name)
        call.interpreter.assign(word, call.scope)
        values = call.scope.variables[word.name].texts
        computed = call.name != "export" and ("i" in options or "n" in options)
        if computed and not all(re.fullmatch(r"-?[1-9]\d*|0", text.text) for text in values):
            call.scope.lose(word.name, f"is computed by `{call.name} {options}`", call.node.line)
    if call.name == "local":
        named = {word.name for word in assigned}
        for bare in (word.text for word in call.arguments if word.text.isidentifier() and word.text not in named):
            call.interpreter.locals[-1].add(bare)
            call.scope.variables[bare] = Variable()
    return True


def _eval(call: _Call) -> Verdict:
    _evaluate(call, join(call.arguments, " "), call.scope)
    return Undecided("`eval`")


def _shell(call: _Call) -> Verdict | None:
    """`bash -c "..."`."""
    if len(call.arguments) < 2 or not re.fullmatch("-[a-z]*c", call.arguments[0].text):
        return None
    inner = call.scope.child()
    inner.positional = call.arguments[3:]
    _evaluate(call, call.arguments[1], inner)
    return Undecided(f"`{call.name} -c`")


def _evaluate(call: _Call, text: Text, scope: Scope) -> None:
    """Evaluate a text as a script; an unknown text stays a separate command, to be named."""
    if text.unknowns:
        call.interpreter.start([text], call.node.line, scope)
        for name in re.findall(r"\b([A-Za-z_]\w*)=", text.text):
            scope.lose(name, f"is set by `{call.name}`", call.node.line)
        return
    call.interpreter.run(parse(Cursor(call.interpreter.script, text.text, call.node.line)), scope)


def _succeed(call: _Call) -> Verdict:
    return call.name != "false"


def _source(call: _Call) -> Verdict:
    """Read another script in place; if it is missing, what it may set is unknown."""
    if not call.arguments:
        return True
    interpreter, target, line, scope = call.interpreter, call.arguments[0], call.node.line, call.scope
    if _HARMLESS.search(target.text):
        return True
    file = None if target.unknowns else _found(interpreter.script, target.text, scope)
    if file is not None and file.resolve() not in interpreter.sourced:
        interpreter.sourced.add(file.resolve())
        script = Script(decode(file.read_bytes(), file.name), file.name, file, interpreter.script.environment)
        interpreter.run(parse(Cursor(script)), scope)
        return True
    why = f"may be set by {target.text}, which line {line} reads and which is not found here"
    for name in list(scope.variables):
        if scope.variables[name].unknown is None:
            scope.lose(name, why, line)
    scope.sourced = Unknown("", why, line)
    return True


def _found(script: Script, path: str, scope: Scope) -> Path | None:
    beside = [script.file.parent, script.file.parent / scope.folder] if script.file else []
    folders = [Path(scope.folder or "."), *beside]
    for folder in folders:
        file = folder / path
        try:
            if file.is_file() and file.stat().st_size <= _LARGEST_SOURCE:
                return file
        except (OSError, ValueError) as error:
            raise UserError(script.name, path, "cannot be read") from error
    return None


_BUILTINS: dict[str, Callable[[_Call], Verdict | None]] = {
    **dict.fromkeys(("export", "declare", "local", "readonly", "typeset"), _declare),
    **dict.fromkeys(("[", "test"), _test),
    **dict.fromkeys(("true", ":", "false"), _succeed),
    **dict.fromkeys(("cd", "pushd"), _cd),
    **dict.fromkeys(("break", "continue"), _leave_loop),
    **dict.fromkeys(("read", "mapfile", "readarray", "getopts"), _read),
    **dict.fromkeys(("source", "."), _source),
    **dict.fromkeys(("bash", "sh", "zsh"), _shell),
    "exit": _exit,
    "return": _return,
    "unset": _unset,
    "printf": _printf,
    "let": _let,
    "set": _set,
    "shift": _shift,
    "eval": _eval,
}

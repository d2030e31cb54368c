"""What `$(...)` prints if that does not depend on the machine: the script's folders, interpreters, echo."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeplora.convert.scripts.bash.cursor import Cursor
from sweeplora.convert.scripts.bash.grammar import parse
from sweeplora.convert.scripts.bash.scope import Scope
from sweeplora.convert.scripts.bash.syntax import AndOr, Node, Simple, Substitution
from sweeplora.convert.scripts.text import Text, Unknown, join

if TYPE_CHECKING:
    from sweeplora.convert.scripts.bash.interpreter import Interpreter

_INTERPRETERS = ("python", "accelerate", "torchrun", "py", "bash", "sh")


def captured(interpreter: Interpreter, part: Substitution, scope: Scope) -> Text:
    """The text of a substitution, or its name as unknown."""
    nodes = parse(Cursor(interpreter.script, part.script, part.line))
    lines: list[Text] = []
    if nodes and all(_printed(interpreter, node, scope := scope.copy(), lines) for node in nodes):
        return join(lines, "\n")
    why = "is the output of a command, which only running can tell; write the value"
    return Text(part.raw, (Unknown(part.raw, why, part.line),))


def _printed(interpreter: Interpreter, node: Node, scope: Scope, lines: list[Text]) -> bool:
    """Add what a statement prints; False if that is unknown."""
    if isinstance(node, AndOr):
        if not _printed(interpreter, node.left, scope, lines):
            return False
        return node.operator == "||" or _printed(interpreter, node.right, scope, lines)
    if not isinstance(node, Simple) or not node.words:
        return False
    words = [
        text for word in node.words if isinstance(word, tuple) for text in interpreter.expander.fields(word, scope)
    ]
    if not words or words[0].unknowns:
        return False
    name, arguments = words[0].text, [word for word in words[1:] if not word.text.startswith("-")]
    flags = [word.text for word in words[1:] if word.text.startswith("-")]
    if name in ("cd", "pushd"):
        return len(arguments) == 1 and move(scope, arguments[0])
    if name == "pwd":
        if scope.folder.startswith("/"):
            lines.append(Text(scope.folder))
        return scope.folder.startswith("/")
    if name == "echo":
        if flags:
            return False
        lines.append(join(words[1:], " "))
        return True
    if name in ("command", "which", "type") and len(arguments) == 1:
        return _interpreter(arguments[0], lines)
    return len(arguments) in (1, 2) and _path(name, flags, arguments, lines)


def _interpreter(name: Text, lines: list[Text]) -> bool:
    found = name.text.rstrip("0123456789.") in _INTERPRETERS
    if found:
        lines.append(name)
    return found


def _path(name: str, flags: Sequence[str], arguments: Sequence[Text], lines: list[Text]) -> bool:
    path = arguments[0].text
    if arguments[0].unknowns or (len(arguments) == 2 and name != "basename"):
        return False
    if name == "dirname" and not flags:
        lines.append(Text(posixpath.dirname(path.rstrip("/")) or ("/" if path.startswith("/") else ".")))
    elif name == "basename" and not flags:
        base = posixpath.basename(path.rstrip("/"))
        suffix = arguments[1].text if len(arguments) == 2 else ""
        lines.append(Text(base.removesuffix(suffix) if base != suffix else base))
    elif name in ("realpath", "readlink") and path.startswith("/"):
        lines.append(Text(posixpath.normpath(path)))
    else:
        return False
    return True


def move(scope: Scope, target: Text) -> bool:
    """`cd target`; False if the target is unknown."""
    if target.unknowns or target.text in ("-", ""):
        return False
    scope.folder = posixpath.normpath(posixpath.join(scope.folder, target.text))
    return True

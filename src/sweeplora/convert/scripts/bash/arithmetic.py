"""Integer arithmetic, if every variable in it is known."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable

from sweeplora.convert.scripts.bash.scope import Scope
from sweeplora.convert.scripts.bash.syntax import Arithmetic
from sweeplora.convert.scripts.text import Text, Unknown

_LARGEST = 2**63
_NAME = re.compile(r"\$?\{?([A-Za-z_]\w*)\}?")
_ALLOWED = re.compile(r"[\d\s()+*/%<>=!&|-]*")
_ASSIGNS = re.compile(r"\+\+|--|(?<![=!<>])=(?!=)")
_COMPARED: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def evaluate(part: Arithmetic, scope: Scope) -> Text:
    """The result as text, or what is unknown in it."""
    value = number(part.expression, part.line, scope)
    if isinstance(value, int):
        return Text(str(value))
    return Text(part.raw, (Unknown(part.raw, value.why, part.line),))


def assigned(expression: str) -> list[str]:
    """The variables that an expression may change."""
    return _NAME.findall(expression) if _ASSIGNS.search(expression) else []


def number(expression: str, line: int, scope: Scope) -> int | Unknown:
    """The value of an expression of integers and known variables."""
    names: list[str] = []

    def filled(found: re.Match[str]) -> str:
        variable = scope.get(found[1])
        text = variable.texts[0] if variable is not None and variable.unknown is None and variable.items else None
        if text is None or text.outside or not re.fullmatch(r"-?\d{1,18}", text.text):
            names.append(found[1])
            return "0"
        return f"({int(text.text)})"

    counted = expression.replace("$#", str(len(scope.positional)))
    plain = _NAME.sub(filled, counted)
    if names:
        return Unknown(expression, f"needs ${names[0]}, which is not known", line)
    if (
        not _ALLOWED.fullmatch(plain)
        or _ASSIGNS.search(expression)
        or re.search(r"\*\*|\b0\d", plain)
        or len(plain) > 200
    ):
        return Unknown(expression, "is arithmetic that only the shell evaluates; write the number", line)
    plain = plain.replace("&&", " and ").replace("||", " or ")
    plain = re.sub(r"!(?!=)", " not ", plain)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            value = _value(ast.parse(plain.strip(), mode="eval").body)
    except (SyntaxError, ZeroDivisionError, ValueError, MemoryError):
        return Unknown(expression, "is arithmetic that only the shell evaluates; write the number", line)
    return value


def _value(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int() as value):
            return _small(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return int(not _value(operand))
        case ast.BoolOp(op=ast.And(), values=values):
            return int(all(_value(one) for one in values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return int(any(_value(one) for one in values))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
            return int(_COMPARED[type(op)](_value(left), _value(right)))
        case ast.BinOp(left=left, op=op, right=right):
            return _small(_computed(_value(left), op, _value(right)))
    raise ValueError


def _computed(left: int, op: ast.operator, right: int) -> int:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return (abs(left) // abs(right)) * (1 if (left < 0) == (right < 0) else -1)
        case ast.Mod():
            return left - right * _computed(left, ast.Div(), right)
    raise ValueError


def _small(value: int) -> int:
    if abs(value) >= _LARGEST:
        raise ValueError
    return value

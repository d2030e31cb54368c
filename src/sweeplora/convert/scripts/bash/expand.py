"""Expands words to the texts that bash would produce."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from sweeplora.convert.scripts.bash.arithmetic import evaluate
from sweeplora.convert.scripts.bash.arithmetic import number as computed_number
from sweeplora.convert.scripts.bash.cursor import Cursor
from sweeplora.convert.scripts.bash.scope import Scope, Variable, plain
from sweeplora.convert.scripts.bash.syntax import Arithmetic, Literal, Parameter, Substitution, Word
from sweeplora.convert.scripts.bash.words import read_word
from sweeplora.convert.scripts.text import Script, Text, Unknown, join

Run = Callable[[Substitution, Scope], Text]
"""What a substitution's commands would print."""

_NOT_GIVEN = "is an argument of the script, and none is given when it is converted"
_SPECIAL = {"?": "is an exit code", "$": "is a process id", "!": "is a process id", "-": "holds the shell's options"}
_PATTERN = re.compile(r"(?<!\$)\{[^{}\s]*(?:,|\.\.)[^{}\s]*\}")


class Expander:
    """Expands words of one script; `run` evaluates the contents of `$(...)`.

    `used_arguments`: whether the script uses its own arguments, of which there are none.
    """

    def __init__(self, script: Script, run: Run) -> None:
        self._script = script
        self._run = run
        self.used_arguments = False

    def fields(self, word: Word, scope: Scope) -> list[Text]:
        """The words that this one expands to: several if an unquoted value has blanks, none if it is empty."""
        made: list[Text] = []
        current: Text | None = None
        for index, part in enumerate(word):
            if isinstance(part, Literal):
                piece = self._literal(part, index == 0, scope)
                current = (current or Text()) + piece if part.quoted or piece.text else current
                continue
            values = self._many(part, scope)
            if part.quoted:
                current = (current or Text()) + values[0] if values else current
                for value in values[1:]:
                    made.append(current or Text())
                    current = value
                continue
            for number, value in enumerate(values):
                if number and current is not None:
                    made.append(current)
                    current = None
                current = _split(value, current, made, _separators(scope))
        return made if current is None else [*made, current]

    def text(self, word: Word, scope: Scope) -> Text:
        """The word as one text, as in an assignment."""
        pieces: list[Text] = []
        for index, part in enumerate(word):
            if isinstance(part, Literal):
                pieces.append(self._literal(part, index == 0, scope, patterns=False))
            else:
                pieces.append(join(self._many(part, scope), " "))
        return join(pieces)

    def _literal(self, part: Literal, first: bool, scope: Scope, patterns: bool = True) -> Text:
        text = part.text
        if part.quoted:
            return Text(text)
        home = scope.environment.get("HOME")
        if first and home and (text == "~" or text.startswith("~/")):
            text = home + text[1:]
        if patterns and _PATTERN.search(text):
            return Text(text, (Unknown(text, "is a list in braces that only the shell expands; write it out", 0),))
        if patterns and first and not text.startswith("-") and re.search(r"[*?]", text):
            return Text(text, (Unknown(text, "is a pattern of file names; write the names out", 0),))
        return Text(text)

    def _many(self, part: Parameter | Substitution | Arithmetic, scope: Scope) -> list[Text]:
        if isinstance(part, Parameter):
            return self._parameter(part, scope)
        if isinstance(part, Arithmetic):
            return [evaluate(part, scope)]
        return [self._run(part, scope)]

    def _parameter(self, part: Parameter, scope: Scope) -> list[Text]:
        if part.prefix == "!" and part.index in ("@", "*") and (listed := scope.get(part.name)) is not None:
            return [Text(key) for key, _ in listed.items] if listed.unknown is None else [_unset(part, scope)]
        if part.prefix == "!" or part.operator == "?!":
            return [_unknown(part, "is an expansion that only the shell evaluates; write the value")]
        if part.name in ("@", "*"):
            self.used_arguments = self.used_arguments or not scope.positional
            return self._all(part, scope.positional)
        if part.name == "#":
            return [Text(str(len(scope.positional)))]
        variable = self._lookup(part, scope)
        if isinstance(variable, Unknown):
            return [Text(part.raw, (variable,))]
        if part.index in ("@", "*"):
            if variable is None:
                return [_unset(part, scope)] if not part.operator else self._operated(part, None, scope)
            return self._all(part, variable.texts)
        if part.index is not None and variable is not None:
            variable = self._element(part, variable, scope)
        if isinstance(variable, Unknown):
            return [Text(part.raw, (variable,))]
        value = variable.texts[0] if variable is not None and variable.items else None
        if variable is not None and value is None and not part.operator:
            return []
        return self._operated(part, value, scope)

    def _lookup(self, part: Parameter, scope: Scope) -> Variable | Unknown | None:
        name = part.name
        if name == "0" or (name == "BASH_SOURCE" and part.index in (None, "0")):
            if self._script.file is None:
                return Unknown(part.raw, "is the script's own file, and the text was not read from one", part.line)
            return Variable((((part.index or "0"), Text(str(self._script.file.resolve()))),))
        if name.isdigit():
            number = int(name)
            return plain(scope.positional[number - 1]) if number <= len(scope.positional) else None
        if name in _SPECIAL:
            return Unknown(part.raw, f"{_SPECIAL[name]}, which only running can tell", part.line)
        variable = scope.get(name)
        if name == "PWD" and variable is None and scope.folder.startswith("/"):
            return plain(Text(scope.folder))
        if variable is not None and variable.unknown is not None:
            return Unknown(part.raw, variable.unknown.why, variable.unknown.line)
        return variable

    def _element(self, part: Parameter, variable: Variable, scope: Scope) -> Variable | Unknown | None:
        assert part.index is not None
        key = self.text(read_word(Cursor(self._script, part.index, part.line), ""), scope)
        if key.unknowns:
            return Unknown(part.raw, f"has an index that is not known: {key.unknowns[0].name}", part.line)
        items = dict(variable.items)
        name = key.text
        if name not in items and re.fullmatch(r"[A-Za-z_]\w*", name) and (other := scope.get(name)) is not None:
            if other.unknown is not None or not other.items:
                return Unknown(part.raw, f"has an index that is not known: ${name}", part.line)
            name = other.texts[0].text
        if name.startswith("-") and name[1:].isdigit() and items:
            name = list(items)[int(name)] if int(name[1:]) <= len(items) else name
        if name not in items and not name.isdigit() and all(known.isdigit() for known in items):
            computed = computed_number(name, part.line, scope)
            name = str(computed) if isinstance(computed, int) else name
        if name in items:
            return plain(items[name])
        if not name.isdigit():
            return Unknown(part.raw, "has an index that is not known", part.line)
        return None

    def _all(self, part: Parameter, texts: list[Text]) -> list[Text]:
        if part.prefix == "#":
            return [Text(str(len(texts)))]
        if part.operator == ":":
            found = re.fullmatch(r"\s*(\d+)\s*(?::\s*(\d+)\s*)?", part.argument)
            if not found:
                return [_unknown(part, "is a part of a list that only the shell evaluates")]
            first = int(found[1]) - (part.name in ("@", "*"))
            return texts[max(first, 0) : first + int(found[2]) if found[2] else None]
        if part.operator and not (part.operator in ("-", ":-", "+", ":+") and texts):
            return [_unknown(part, "is an expansion that only the shell evaluates; write the value")]
        star = part.index == "*" or part.name == "*"
        return [join(texts, " ")] if star and part.quoted and texts else texts

    def _operated(self, part: Parameter, value: Text | None, scope: Scope) -> list[Text]:
        operator = part.operator
        if value is None and part.prefix == "#":
            return [_unset(part, scope)]
        if not operator:
            if value is None:
                return [_unset(part, scope)]
            return [Text(str(len(value.text)), value.unknowns, value.outside)] if part.prefix == "#" else [value]
        argument = read_word(Cursor(self._script, part.argument, part.line), "")
        if operator.lstrip(":") in ("-", "=", "+", "?"):
            return self._default(part, value, argument, scope)
        if value is None:
            return [_unset(part, scope)]
        if value.unknowns:
            return [value]
        written = _halves(part.argument) if operator.startswith("/") else [part.argument]
        texts = [self.text(read_word(Cursor(self._script, half, part.line), ""), scope) for half in written]
        if unknowns := join(texts).unknowns:
            return [Text(part.raw, unknowns)]
        changed = _changed(operator, value.text, *(text.text for text in texts))
        if changed is None:
            return [_unknown(part, "is an expansion that only the shell evaluates; write the value")]
        return [Text(changed, outside=value.outside)]

    def _default(self, part: Parameter, value: Text | None, argument: Word, scope: Scope) -> list[Text]:
        if value is None and scope.sourced is not None and not part.name.isdigit():
            return [_unset(part, scope)]
        missing = value is None or (part.operator.startswith(":") and value.text == "" and not value.unknowns)
        sign = part.operator.lstrip(":")
        if sign == "+":
            if value is not None and value.outside:
                return [Text(part.raw, (Unknown(part.raw, "depends on the environment", part.line),))]
            return [] if missing else self.fields_or_text(argument, part.quoted, scope)
        if not missing:
            assert value is not None
            return [value]
        if sign == "?":
            return [_unset(part, scope)]
        if sign == "=":
            scope.set(part.name, plain(self.text(argument, scope)))
        return self.fields_or_text(argument, part.quoted, scope)

    def fields_or_text(self, word: Word, quoted: bool, scope: Scope) -> list[Text]:
        """The words of a default value: one in quotes, several outside."""
        return [self.text(word, scope)] if quoted else self.fields(word, scope)


def _separators(scope: Scope) -> str:
    """The characters of IFS, at which unquoted values are split."""
    variable = scope.variables.get("IFS")
    if variable is None or variable.unknown is not None or not variable.items:
        return " \t\n"
    return variable.texts[0].text


def _split(value: Text, current: Text | None, made: list[Text], separators: str) -> Text | None:
    """An unquoted value's words, the first of them behind `current`; finished ones go to `made`."""
    if value.unknowns:
        return (current or Text()) + value
    pieces = re.split(f"[{re.escape(separators)}]+", value.text) if separators else [value.text]
    for index, piece in enumerate(pieces):
        if index and current is not None:
            made.append(current)
            current = None
        if piece:
            current = (current or Text()) + Text(piece, outside=value.outside)
    return current


def _unknown(part: Parameter, why: str) -> Text:
    return Text(part.raw, (Unknown(part.raw, why, part.line),))


def _unset(part: Parameter, scope: Scope) -> Text:
    if part.name.isdigit():
        return _unknown(part, _NOT_GIVEN)
    if scope.sourced is not None:
        return Text(part.raw, (Unknown(part.raw, scope.sourced.why, scope.sourced.line),))
    return _unknown(part, "is set nowhere in the script, nor in the environment")


def _halves(argument: str) -> list[str]:
    """What stands before and behind the first slash that is not escaped."""
    found = re.match(r"((?:[^\\/]|\\.)*)/?(.*)", argument, re.DOTALL)
    return [found[1], found[2]] if found else [argument, ""]


def _changed(operator: str, value: str, argument: str, new: str = "") -> str | None:
    """What `${NAME<operator>argument}` makes of a value; None for what is not evaluated here."""
    match operator:
        case "#" | "##" | "%" | "%%":
            return _without(operator, value, argument)
        case "/" | "//" | "/#" | "/%":
            expression = _expression(argument)
            anchored = {"/#": rf"\A{expression}", "/%": rf"{expression}\Z"}.get(operator, expression)
            if not argument:
                return value
            return re.sub(anchored, lambda _: new, value, count=0 if operator == "//" else 1)
        case "^^" | ",,":
            return None if argument else (value.upper() if operator == "^^" else value.lower())
        case "^" | ",":
            first = value[:1].upper() if operator == "^" else value[:1].lower()
            return None if argument else first + value[1:]
        case ":":
            found = re.fullmatch(r"\s*(\d+| -\d+)\s*(?::\s*(-?\d+)\s*)?", argument)
            if not found:
                return None
            rest = value[int(found[1]) :]
            return rest if found[2] is None else rest[: int(found[2])]
    return None


def _without(operator: str, value: str, pattern: str) -> str:
    """The value without its shortest or longest beginning (#) or end (%) that the pattern matches."""
    lengths = range(len(value) + 1) if len(operator) == 1 else range(len(value), -1, -1)
    for length in lengths:
        part = value[:length] if operator[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(part, pattern):
            return value[length:] if operator[0] == "#" else value[: len(value) - length]
    return value


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)

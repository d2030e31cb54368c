"""A shell script's text into its commands, as words: comments, quotes, continued lines and variables, nothing run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeplora.errors import UserError

_NAME = r"[A-Za-z_]\w*"
_ASSIGNED = re.compile(rf"({_NAME})(\+?=)(.*)", re.DOTALL)
_BRACED = re.compile(rf"\$\{{({_NAME}|\d+)(\[[@*\d]+\])?(?:(:?[-=])([^{{}}]*))?\}}")
_BARE = re.compile(rf"\$({_NAME})")
_PERCENT = re.compile(rf"%({_NAME})%")
_SET = re.compile(rf"\"?({_NAME})=([^\n\"]*)[^\n]*")
_REMARK = re.compile(r"(?:#|@?rem\b|::)[^\n]*", re.IGNORECASE)
_POWERSHELL = re.compile(r"\s`\s*?$|^\s*\$\w+\s*\+?=", re.MULTILINE)
_DRIVE = re.compile(r"(?:^|=)[A-Za-z]:[^:]*$")
_ENDS = (";", "&", "|", "(", ")", "\n")
_OPENING = ("if", "for", "while", "until", "case", "select")
_CLOSING = ("fi", "done", "esac")
_GOING_ON = ("then", "else", "elif", "do", "{", "}")
_TESTS = ("[", "[[", "test")
_ASSIGNING = {"export", "declare", "local", "readonly", "env"}
_COMPUTED = "\0"


@dataclass
class _Reader:
    """Where the reading stands: the text, the place in it, and the variables known so far.

    `depth`: how many ifs, loops and cases are around it. `unsure`: whether this command follows a test on its line.
    """

    text: str
    variables: dict[str, list[str]]
    at: int = 0
    depth: int = 0
    unsure: bool = False
    words: list[str] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)


def commands(text: str, environment: Mapping[str, str]) -> list[list[str]]:
    """Every command of a script, its variables expanded; assignments (`A=b`, `export A=b`, `A=(b c)`) are kept in mind.

    A variable is what the script or the environment last said; a batch file's `set` and `%NAME%` are read too. A
    value that only running something could tell (`$(…)`, or one set under a condition) stands as a word with a
    NUL in it, which `plain` refuses. Raises UserError for a PowerShell script.
    """
    if _POWERSHELL.search(text):
        mend = "PowerShell is not read; give the accelerate command on one line, or a bash script"
        raise UserError("convert", text.strip().partition("\n")[0][:40], mend)
    joined = re.sub(r"(?:\\|(?<=\s)\^)\r?\n", " ", text.replace("\r\n", "\n"))
    reader = _Reader(joined, {name: [value] for name, value in environment.items()})
    while reader.at < len(joined):
        _next(reader)
    _end(reader)
    return reader.commands


def plain(words: list[str]) -> list[str]:
    """The same words. Raises UserError for one that only running the script could tell."""
    for word in words:
        if _COMPUTED in word:
            shown = word.replace(_COMPUTED, "")
            mend = (
                "only the shell can tell this value (computed, or set under a condition); write it out in the command"
            )
            raise UserError("convert", shown, mend)
    return words


def _next(reader: _Reader) -> None:
    character = reader.text[reader.at]
    if character in _ENDS:
        _weigh(reader)
        reader.at += 1
        _end(reader)
    elif character.isspace():
        reader.at += 1
    elif (remark := _REMARK.match(reader.text, reader.at)) and (character == "#" or not reader.words):
        reader.at = remark.end()
    elif redirection := re.compile(r"\d*(?:>>?|<<?<?)(?:&\d|&-)?[ \t]*").match(reader.text, reader.at):
        reader.at = redirection.end()
        if "&" not in redirection[0]:
            _word(reader)
    else:
        _take(reader)


def _weigh(reader: _Reader) -> None:
    """Whether what follows this operator may be left out: it comes after a test, or in place of a failure."""
    operator = reader.text[reader.at : reader.at + 2]
    if operator == "||" or (operator == "&&" and reader.words[:1] and reader.words[0] in _TESTS):
        reader.unsure = True
    elif operator[0] in ";\n":
        reader.unsure = False


def _take(reader: _Reader) -> None:
    """One word, or an assignment in front of a command."""
    start = reader.at
    batch = _SET.match(reader.text, start) if reader.words == ["set"] else None
    if batch:
        reader.at = batch.end()
        _keep(reader, batch[1], "=", [_PERCENT.sub(lambda found: _named(reader, found), batch[2].rstrip())])
        return
    array = re.compile(rf"({_NAME})(\+?=)\(").match(reader.text, start)
    if array and set(reader.words) <= {*_ASSIGNING, "-a"}:
        reader.at = array.end()
        _keep(reader, array[1], array[2], _elements(reader))
        return
    found = _word(reader)
    assigned = _ASSIGNED.fullmatch(" ".join(found)) if re.match(rf"{_NAME}\+?=", reader.text[start:]) else None
    if assigned and set(reader.words) <= _ASSIGNING:
        _keep(reader, assigned[1], assigned[2], [assigned[3]])
    elif reader.words or not _is_structure(reader, reader.text[start : reader.at]):
        reader.words += found


def _is_structure(reader: _Reader, word: str) -> bool:
    """Whether a command's first word only says when the others run; counts how deep it is then."""
    reader.depth += (word in _OPENING) - (word in _CLOSING)
    return word in _CLOSING or word in _GOING_ON


def _elements(reader: _Reader) -> list[str]:
    found: list[str] = []
    while reader.at < len(reader.text) and reader.text[reader.at] != ")":
        if reader.text[reader.at].isspace():
            reader.at += 1
        elif reader.text[reader.at] == "#":
            reader.at = (reader.text + "\n").find("\n", reader.at)
        else:
            found += _word(reader)
    reader.at += 1
    return found


def _keep(reader: _Reader, name: str, sign: str, values: list[str]) -> None:
    before = reader.variables.get(name, [])
    if reader.depth > 0 or reader.unsure:
        values = [f"{value}{_COMPUTED}" for value in values or [name]]
    if sign == "+=" and before and len(values) == 1 and len(before) == 1:
        reader.variables[name] = [before[0] + values[0]]
    else:
        reader.variables[name] = [*before, *values] if sign == "+=" else values


def _word(reader: _Reader) -> list[str]:
    """One word from here on, quotes removed; several where a variable holds several, none where it is empty."""
    words, open_word = [""], False
    while reader.at < len(reader.text):
        character = reader.text[reader.at]
        if character.isspace() or character in _ENDS:
            break
        if character in "'\"":
            _join(words, _quoted(reader, character))
            open_word = True
        elif character == "\\" and _DRIVE.search(words[-1]) and reader.text[reader.at + 1 : reader.at + 2].isalnum():
            words[-1] += character
            reader.at += 1
        elif character == "\\":
            words[-1] += reader.text[reader.at + 1 : reader.at + 2]
            reader.at += 2
            open_word = True
        elif percent := _PERCENT.match(reader.text, reader.at):
            words[-1] += _named(reader, percent)
            reader.at = percent.end()
        elif character in "$`":
            _join(words, [part for value in _variable(reader) for part in value.split()])
        else:
            words[-1] += character
            reader.at += 1
    return words if open_word or words != [""] else []


def _join(words: list[str], more: list[str]) -> None:
    if more:
        words[-1] += more[0]
        words += more[1:]


def _quoted(reader: _Reader, quote: str) -> list[str]:
    words = [""]
    reader.at += 1
    while reader.at < len(reader.text) and reader.text[reader.at] != quote:
        character = reader.text[reader.at]
        if quote == '"' and character == "\\" and reader.text[reader.at + 1 : reader.at + 2] in ('"', "\\", "$", "`"):
            words[-1] += reader.text[reader.at + 1]
            reader.at += 2
        elif quote == '"' and (percent := _PERCENT.match(reader.text, reader.at)):
            words[-1] += _named(reader, percent)
            reader.at = percent.end()
        elif quote == '"' and character in "$`":
            _join(words, _variable(reader))
        else:
            words[-1] += character
            reader.at += 1
    if reader.at >= len(reader.text):
        raise UserError("convert", words[-1][:40], f"a quotation mark {quote} is never closed")
    reader.at += 1
    return words


def _named(reader: _Reader, found: re.Match[str]) -> str:
    """What `%NAME%` of a batch file stands for."""
    values = reader.variables.get(found[1])
    return " ".join(values) if values else f"{found[0]}{_COMPUTED}"


def _variable(reader: _Reader) -> list[str]:
    """What stands for `$NAME`, `${NAME}`, `${NAME:-else}`, `${LIST[@]}` here; reads past it."""
    text, at = reader.text, reader.at
    if text.startswith(("$(", "`"), at):
        return [_computed(reader)]
    found = _BRACED.match(text, at) or _BARE.match(text, at)
    if found is None:
        reader.at += 1
        return ["$"]
    reader.at = found.end()
    braced = found.re is _BRACED
    index, sign, otherwise = (found[2], found[3], found[4]) if braced else (None, None, None)
    values = reader.variables.get(found[1])
    if sign and (values is None or (sign.startswith(":") and not "".join(values))):
        return [otherwise or ""]
    if values is None:
        return [f"{found[0]}{_COMPUTED}"]
    if index in ("[@]", "[*]"):
        return values
    number = int(index[1:-1]) if index else 0
    return values[number : number + 1]


def _computed(reader: _Reader) -> str:
    start = reader.at
    if reader.text[start] == "`":
        end = reader.text.find("`", start + 1)
        reader.at = len(reader.text) if end < 0 else end + 1
    else:
        depth, reader.at = 0, start + 1
        while reader.at < len(reader.text):
            depth += {"(": 1, ")": -1}.get(reader.text[reader.at], 0)
            reader.at += 1
            if depth == 0:
                break
    return reader.text[start : reader.at] + _COMPUTED


def _end(reader: _Reader) -> None:
    if reader.words:
        reader.commands.append(reader.words)
    reader.words = []

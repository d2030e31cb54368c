"""Notebooks and Markdown pages: the shell commands in their cells and code blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from sweeplora.convert.scripts.bash.interpreter import Interpreter
from sweeplora.convert.scripts.bash.scope import Scope
from sweeplora.convert.scripts.reading import Reading
from sweeplora.convert.scripts.shells import language, read
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError

_SHELL_CELL = re.compile(r"\s*%%(?:bash|sh|shell|script\s+(?:bash|sh))\b[^\n]*\n")
_TRAINS = re.compile(r"train_network(\.py)?\b")
_FENCE = re.compile(r"^[ ]{0,3}(```+|~~~+)[ ]*([\w+-]*)[^\n]*\n(.*?)^[ ]{0,3}\1", re.DOTALL | re.MULTILINE)
_OTHER_LANGUAGES = ("python", "py", "json", "toml", "yaml", "yml", "ini", "diff", "markdown", "md", "html", "js")


def notebook(script: Script) -> Reading:
    """The commands that a notebook's cells pass to a shell. Raises UserError for what is not a notebook."""
    try:
        cells = json.loads(script.text)["cells"]
        sources = [_source(cell) for cell in cells if cell.get("cell_type") == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError("convert", script.name, "is not a readable notebook") from error
    reading = _followed(script, [chunk for source in sources for chunk in _shell_chunks(source)])
    named = any(_TRAINS.search(source) for source in sources)
    if named and not any(_TRAINS.search(word.text) for command in reading.commands for word in command.words):
        mend = "is a notebook that starts no training with ! or %%bash; give the command that it would start"
        raise UserError("convert", script.name, mend)
    return reading


def markdown(script: Script) -> Reading:
    """The commands of a page's code blocks."""
    return _followed(script, list(_blocks(script.text)))


def _source(cell: object) -> str:
    assert isinstance(cell, dict)
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _shell_chunks(source: str) -> Iterator[str]:
    """A cell as shells would see it: each line behind ! with those that continue it, a few magics, else empty lines."""
    shell = _SHELL_CELL.match(source)
    if shell:
        yield "\n" * shell[0].count("\n") + source[shell.end() :].rstrip("\n")
        return
    chunk: list[str] = []
    for line in source.rstrip("\n").split("\n"):
        text = line.strip()
        if not chunk:
            shell_line = text.startswith("!") and not re.match(r"!\s*cd\s", text)
            chunk.append(text[1:] if shell_line else _magic(text))
            goes_on = shell_line and text.endswith("\\")
        else:
            chunk.append(line)
            goes_on = line.endswith("\\")
        if not goes_on:
            yield "\n".join(chunk)
            chunk = []
    if chunk:
        yield "\n".join(chunk)


def _magic(text: str) -> str:
    if found := re.match(r"%cd\s+(.+)", text):
        return f"cd {found[1]}"
    if found := re.match(r"%(?:set_)?env\s+(\w+)(?:=|\s+)(.*)", text):
        value = found[2].strip().replace("'", "'\\''")
        return f"export {found[1]}='{value}'"
    return ""


def _blocks(text: str) -> Iterator[str]:
    """Code blocks that may be shell, each behind as many empty lines as there are in front of it."""
    at = 0
    for found in _FENCE.finditer(text):
        code = found[3] if found[2].lower() not in _OTHER_LANGUAGES else "\n" * found[3].count("\n")
        yield "\n" * text.count("\n", at, found.start(3)) + re.sub(r"(?m)^[$>] ", "", code)
        at = found.end(3)


def _followed(script: Script, chunks: list[str]) -> Reading:
    """The commands of all chunks in order, each on the variables of those before."""
    scope, line = Scope(script.environment), 0
    found = Reading(replace(script, text="".join(f"{chunk}\n" for chunk in chunks)), [])
    for chunk in chunks:
        part = Script("\n" * line + chunk, script.name, None, script.environment)
        line += chunk.count("\n") + 1
        try:
            if language(part) != "bash" and _TRAINS.search(chunk):
                found = replace(found, commands=[*found.commands, *read(part).commands])
                continue
            interpreter = Interpreter(part)
            interpreter.run_script(scope)
        except UserError:
            if _TRAINS.search(chunk):
                raise
            continue
        found = replace(found, commands=[*found.commands, *interpreter.commands])
    return found

"""Which shell a text is for, and its commands."""

from __future__ import annotations

import re
from collections.abc import Callable

from sweeplora.convert.entries import no_effect
from sweeplora.convert.scripts.bash.interpreter import Interpreter
from sweeplora.convert.scripts.bash.scope import Scope
from sweeplora.convert.scripts.batch.interpreter import Interpreter as BatchInterpreter
from sweeplora.convert.scripts.powershell.interpreter import Interpreter as PowerShell
from sweeplora.convert.scripts.reading import Reading
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError

_POWERSHELL = re.compile(r"[ \t]`[ \t]*$|^\s*\$[\w:]+\s*\+?=", re.MULTILINE)
_BATCH = re.compile(
    r"^\s*@?echo\s+off\b|^\s*@?set\s+(?:/[ap]\s+)?\"?\w+=|%\w+%|\^[ \t]*$|^\s*@?rem\b|^\s*::|^\s*@?setlocal\b",
    re.MULTILINE | re.IGNORECASE,
)
_DRIVE = re.compile(r"(?:^|[\s=])[A-Za-z]:\\\w|(?:^|[\s=])\.{1,2}\\\w|(?:^|[\s=])\\\\\w")
_CARET = re.compile(r"\S[ \t]*\^$", re.MULTILINE)
"""A line that goes on as in batch files, which some people save as .sh."""
_BY_ENDING = {
    **dict.fromkeys((".sh", ".bash", ".zsh", ".command", ".slurm", ".sbatch"), "bash"),
    **dict.fromkeys((".bat", ".cmd"), "batch"),
    ".ps1": "powershell",
}


def read(script: Script) -> Reading:
    """The commands that the text would start. Raises UserError for one that cannot be read, naming the line."""
    return _READERS[language(script)](script)


def language(script: Script) -> str:
    """The language of a text: by its file's ending, otherwise by what only one of them writes."""
    ending = script.file.suffix.lower() if script.file is not None else ""
    by_ending = _BY_ENDING.get(ending, "")
    if by_ending == "bash" and _CARET.search(script.text) and "\\\n" not in script.text:
        return "batch"
    if by_ending:
        return by_ending
    if ending == ".py":
        mend = "a Python script is not followed; give the command that it starts: convert -- accelerate launch ..."
        raise UserError("convert", script.name, mend)
    if script.text.startswith("#!"):
        return "bash"
    if _POWERSHELL.search(script.text):
        return "powershell"
    windows = _DRIVE.search(script.text) and "$" not in script.text and "\\\n" not in script.text
    return "batch" if windows or _BATCH.search(script.text) else "bash"


def bash(script: Script) -> Reading:
    """A bash script's commands."""
    interpreter = Interpreter(script)
    scope = Scope(script.environment)
    interpreter.run_script(scope)
    uncalled = [name for name in scope.functions if name not in interpreter.called]
    note = "the script's own arguments, of which none are given when it is converted"
    remarks = [no_effect('"$@"', note)] if interpreter.expander.used_arguments else []
    return Reading(script, interpreter.commands, interpreter.stopped, uncalled, remarks)


def batch(script: Script) -> Reading:
    """A batch file's commands."""
    interpreter = BatchInterpreter(script)
    interpreter.run()
    return Reading(script, interpreter.commands, interpreter.stopped)


def powershell(script: Script) -> Reading:
    """A PowerShell script's commands."""
    interpreter = PowerShell(script)
    interpreter.run()
    uncalled = [name for name in interpreter.scope.functions if name not in interpreter.called]
    return Reading(script, interpreter.commands, interpreter.stopped, uncalled)


_READERS: dict[str, Callable[[Script], Reading]] = {
    "bash": bash,
    "batch": batch,
    "powershell": powershell,
}

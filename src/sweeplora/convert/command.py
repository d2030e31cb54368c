"""Converting: a command of sd-scripts in, a file of `sweeps/` and a report out."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeplora.convert.conversion import convert
from sweeplora.convert.reading import shell
from sweeplora.convert.reading.launch import Command, find
from sweeplora.convert.report import report
from sweeplora.convert.sweep_file import shown, text
from sweeplora.errors import UserError

DONE, TO_MEND = 0, 1


def take_over(source: Sequence[str], output: Path | None, number: int | None, *, force: bool) -> int:
    """Convert a command or script; returns 0, or 1 where the file is written and lacks something of the command.

    `source`: the words of a command, or one word that is a script's path or a whole command. `output`: None takes
    the name of the training. `number` chooses one of several trainings in a script, from 1 on.

    That is a flag that changes what is learned and cannot be taken over, or one that the reference does not know;
    each is named on the standard error, and so is the first value of the file that the check will refuse. Raises
    UserError where nothing can be written.
    """
    conversion = convert(_chosen(_commands(source), number))
    output = output or Path("sweeps", f"{_file_name(conversion.name)}.yaml")
    written = output.with_name(f"{output.stem}.conversion.md")
    for file in (output, written):
        if file.exists() and not force:
            raise UserError("--output", file, "is there already; give another file, or --force to replace it")
    page = report(conversion, output.stem)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text(conversion, output.stem), encoding="utf-8")
    written.write_text(page, encoding="utf-8")
    print(page)
    lacking = [f"{entry.flag}: {entry.note}" for entry in conversion.of("missing", "unknown")]
    for trouble in (*lacking, *_refused(output)):
        print(trouble, file=sys.stderr)
    print(f"wrote {output} and {written}; run it with: python -m sweeplora +sweep={output.stem}")
    return TO_MEND if lacking else DONE


def _commands(rest: Sequence[str]) -> list[Command]:
    if rest[0] == "--" or len(rest) > 1:
        return find([list(rest[1:] if rest[0] == "--" else rest)])
    file = Path(rest[0]).expanduser()
    if len(rest[0]) < 4096 and "\n" not in rest[0] and file.is_file():
        said = file.read_text(encoding="utf-8-sig", errors="replace")
    elif " " not in rest[0].strip() and file.suffix in (".sh", ".bat", ".cmd", ".ps1", ".txt"):
        raise UserError("convert", rest[0], "there is no such file")
    else:
        said = rest[0]
    return find(shell.commands(said, os.environ))


def _chosen(commands: list[Command], number: int | None) -> Command:
    if number is None and len(commands) > 1:
        listed = "; ".join(f"{at}: {shown(command.words)[:60]}…" for at, command in enumerate(commands, 1))
        raise UserError("convert", f"{len(commands)} trainings", f"choose one with --command N: {listed}")
    if number is not None and not 0 < number <= len(commands):
        raise UserError("--command", number, f"there are {len(commands)} trainings in it")
    command = commands[(number or 1) - 1]
    shell.plain([*command.launcher, *command.words])
    return command


def _file_name(name: str) -> str:
    cleaned = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-")
    return cleaned or "converted"


def _refused(output: Path) -> list[str]:
    """The first thing that the check says of the written file's values, where it can be composed from here."""
    from sweeplora.check.configuration import check_shape
    from sweeplora.config import catalog
    from sweeplora.config.compose import compose

    if catalog.sweeps(Path.cwd()).get(output.stem) != output.resolve():
        return []
    try:
        check_shape(compose([f"+sweep={output.stem}"]).config)
    except UserError as error:
        return [f"the check will refuse it: {error}"]
    return []

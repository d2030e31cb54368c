"""The conversion of an sd-scripts command to a file of `sweeps/` and a report."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from sweeplora.convert.conversion import Conversion, convert
from sweeplora.convert.entries import settings
from sweeplora.convert.reading.gui import settings_file
from sweeplora.convert.reading.launch import Command, find, settle
from sweeplora.convert.report import report
from sweeplora.convert.scripts.decode import code_page, decode
from sweeplora.convert.scripts.reading import Reading
from sweeplora.convert.scripts.source import read
from sweeplora.convert.scripts.text import Script, ScriptCommand, Text
from sweeplora.convert.search_file import search_text
from sweeplora.convert.sweep_file import shown, text
from sweeplora.errors import UserError

DONE, TO_MEND = 0, 1
_INSTALLED_BY = {
    "bitsandbytes": "pip install 'sweeplora[gpu]'",
    "xformers": "pip install 'sweeplora[xformers]'",
    "tensorboard": "pip install 'sweeplora[tensorboard]'",
}
_READ_AS_A_VALUE = re.compile(r"[\d_.-]+([eE][\d_-]+)?|true|false|null|nan|inf", re.IGNORECASE)
_LARGEST_SCRIPT = 16 << 20


def take_over(source: Sequence[str], output: Path | None, number: int | None, *, force: bool) -> int:
    """Convert a command or script; returns 0, or 1 if the file is written but lacks something from the command.

    `source`: the words of a command, or a single word that is a script's path or a whole command. `output`: None names
    the file after the training. `number` selects one of several trainings in a script, counted from 1.

    What lacks is a flag that changes the training result and cannot be converted, or one unknown to sd-scripts; each is
    named on standard error, and so is the first value of the file that the check would refuse. Raises UserError if
    nothing can be written.
    """
    conversion = convert(_chosen(read_source(source), number))
    output = output or Path("sweeps", f"{_file_name(conversion.name)}.yaml")
    written = output.with_name(f"{output.stem}.conversion.md")
    search = output.with_name(f"{output.stem}_search.yaml")
    around = search_text(conversion, search.stem)
    for file in (output, written, *((search,) if around is not None else ())):
        if file.exists() and not force:
            raise UserError("--output", file, "already exists; give another file, or --force to replace it")
    page = report(conversion, output.stem)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text(conversion, output.stem, search.stem if around else None), encoding="utf-8")
        written.write_text(page, encoding="utf-8")
        if around is not None:
            search.write_text(around, encoding="utf-8")
        for linked in conversion.links:
            linked.write()
    except OSError as error:
        raise UserError("--output", output, f"cannot be written: {error.strerror}") from error
    print(page)
    lacking = [f"{entry.flag}: {entry.note}" for entry in conversion.of("missing", "unknown")]
    for trouble in (*lacking, *_not_installed(conversion), *_refused(output)):
        print(trouble, file=sys.stderr)
    print(f"wrote {output} and {written}; run it with: python -m sweeplora +sweep={output.stem}")
    if around is not None:
        print(f"wrote {search}, a search around these settings: python -m sweeplora +sweep={search.stem}")
    return TO_MEND if lacking else DONE


def read_source(rest: Sequence[str]) -> Reading:
    """The commands in a command's words, in a script file, or in a text."""
    if rest[0] == "--" or len(rest) > 1:
        words = tuple(Text(word) for word in (rest[1:] if rest[0] == "--" else rest))
        return Reading(Script("", "the command"), [ScriptCommand(words, 1)])
    file = _path(rest[0]) if len(rest[0]) < 4096 and "\n" not in rest[0] else None
    if file is not None and _is_file(file):
        content = _content(file)
        script = Script(decode(content, file.name), file.name, file, os.environ)
        suffix = file.suffix.lower()
        page = code_page(content)
        if page is not None:
            note = f"is not UTF-8 and was read as {page}; where a name came out wrong, save it as UTF-8"
            print(f"{file.name} {note}", file=sys.stderr)
        return settings_file(script, suffix) if suffix in (".json", ".toml") else read(script)
    if " " not in rest[0].strip() and file is not None and file.suffix:
        raise UserError("convert", rest[0], "there is no such file")
    return read(Script(rest[0].replace("\r\n", "\n"), "the text", None, os.environ))


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~name of an unknown user
        return Path(text)


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > _LARGEST_SCRIPT:
            raise UserError("convert", file, "is too large for a script")
        return file.read_bytes()
    except OSError as error:
        raise UserError("convert", file, f"cannot be read: {error.strerror}") from error


def _chosen(reading: Reading, number: int | None) -> Command:
    trainings = find(reading)
    if number is None and len(trainings) > 1:
        listed = "; ".join(f"{at}: {shown(training.shown)[:60]}…" for at, training in enumerate(trainings, 1))
        raise UserError("convert", f"{len(trainings)} trainings", f"choose one with --command N: {listed}")
    if number is not None and not 0 < number <= len(trainings):
        raise UserError("--command", number, f"there are {len(trainings)} trainings in it")
    command = settle(trainings[(number or 1) - 1], reading.script)
    return replace(command, remarks=tuple(reading.remarks))


def _file_name(name: str) -> str:
    """The name as a file name that `+sweep=` can select: a bare number would be parsed as a number."""
    cleaned = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-") or "converted"
    return f"lora_{cleaned}" if _READ_AS_A_VALUE.fullmatch(cleaned) else cleaned


def _not_installed(conversion: Conversion) -> list[str]:
    """Packages that the training needs and that are not installed, each with how to install it."""
    values = settings(conversion.entries)
    target = str(values.get("optimizer._target_", "")).partition(".")[0]
    wanted = {
        target: f"optimizer {values.get('optimizer._target_')}",
        "xformers": "model.attention=xformers" if values.get("model.attention") == "xformers" else "",
        "tensorboard": "tracking.tensorboard" if values.get("tracking.tensorboard") else "",
    }
    return [
        f"to run it: {use} needs {package}; {_INSTALLED_BY.get(package, f'pip install {package}')}"
        for package, use in wanted.items()
        if package and use and find_spec(package) is None
    ]


def _refused(output: Path) -> list[str]:
    """The check's first complaint about the written file's values, if the file can be composed from here."""
    from sweeplora.check.shape import check_shape
    from sweeplora.config import catalog
    from sweeplora.config.compose import compose

    if catalog.sweeps(Path.cwd()).get(output.stem) != output.resolve():
        return []
    try:
        check_shape(compose([f"+sweep={output.stem}"]).config)
    except UserError as error:
        return [f"sweeplora will refuse it: {error}"]
    return []
